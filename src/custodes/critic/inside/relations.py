"""What a function's name or docstring says of its result, whatever the input: it is sorted, another function undoes it, a second time changes nothing.

These are metamorphic relations (T. Y. Chen and others, 1998): each is checked without knowing the right result.
"""

from __future__ import annotations

import bisect
import builtins
import copy
import itertools
import math
import re
import statistics
from collections.abc import Iterator
from typing import Any

import values
from inputs import Call
from subject import UNKNOWN, Broken, Promise, Subject, materialised, told


def relations_of(s: Subject) -> Iterator[Promise]:
    """All that apply."""
    yield from list(sorted_result(s)) or sorted_items(s)
    yield from round_trip(s)
    yield from idempotent(s)
    yield from own_inverse(s)
    yield from as_the_library(s)


UNLESS = re.compile(
    r"\b(?:if|when|unless|where|while|in case|for empty|provided|otherwise|except|should)\b", re.IGNORECASE
)


def unconditional(said: re.Pattern[str], doc: str) -> re.Match[str] | None:
    """Where a docstring says something in a sentence that sets no condition; None where it does not."""
    for match in said.finditer(doc):
        start = max((doc.rfind(mark, 0, match.start()) for mark in (". ", ".\n", "\n\n", "; ")), default=-1)
        end = min(
            (at for mark in (". ", ".\n", "\n\n", "; ") if (at := doc.find(mark, match.end())) >= 0), default=len(doc)
        )
        if not UNLESS.search(doc[start + 1 : end]):
            return match
    return None


SORTS = re.compile(
    r"^(?:(?:bubble|merge|quick|heap|insertion|selection|shell|counting|count|radix|bucket|tim|cocktail|comb|gnome|pancake|cycle|bogo|bogus|stooge|tree|bitonic|intro|strand|exchange|bead|pigeonhole|library|simple|stable|my|list|array|numbers?|ints?|integers?)_?)?sort(?:ed)?(?:_(?:list|array|numbers|integers|items|values|ascending|descending|asc|desc))?$"
)
SORTED_SAID = re.compile(
    r"\b(?:returns?|gives?|yields?)\s+(?:the\s+|a\s+|an\s+)?(?:new\s+)?(?:\w+\s+)?sorted\s+(?:list|array|copy|sequence|version)|\bsorts?\s+(?:the\s+|a\s+|an\s+)?(?:given\s+|input\s+)?(?:list|array|sequence|numbers|integers)\s+(?:of\s+\w+\s+)?in\s+(?:ascending|increasing|descending|decreasing|non-decreasing)"
    r"|\b(?:returns?|gives?|yields?)\b[^.\n]{0,40}?\bin\s+(?:ascending|increasing|descending|decreasing|non-decreasing)\s+order",
    re.IGNORECASE,
)
OTHERWISE = re.compile(
    r"\bby\b|\bkey\b|indic|index|third|even|odd|except|\bonly\b|custom|order of|topolog|natural|absolute|length|frequen|strange|lexico|alphabet|partial|first|if\b|\bcase|newest|oldest|latest|earliest|best|worst|version|colou?r|priorit|rank|\bdates?\b|score|importan|relevan",
    re.IGNORECASE,
)
FEWER = re.compile(
    r"unique|distinct|duplicate|\bset\b|remov|filter|without|select|common|intersect|positive|top|largest|smallest|neighbo|all\b",
    re.IGNORECASE,
)
FALLING = re.compile(r"descend|decreas|revers|largest to smallest|high(?:est)? to low", re.IGNORECASE)


def sorted_result(s: Subject) -> Iterator[Promise]:
    name, said = SORTS.match(s.name.lower()), SORTED_SAID.search(s.doc)
    if not (name or said) or len(s.required) != 1 or OTHERWISE.search(s.doc) or s.method:
        return
    falling = bool(FALLING.search(f"{s.name} {s.doc}"))
    fewer = not name or bool(FEWER.search(f"{s.name} {s.doc}"))

    def in_order(items: list[Any]) -> bool:
        pairs = list(zip(items, items[1:]))  # noqa: B905, RUF007 (Python 3.9)
        up, down = all(a <= b for a, b in pairs), all(a >= b for a, b in pairs)
        return (up or down) if falling else up

    def verdict(call: Call, result: Any) -> Broken | None:
        if not call[0] or not isinstance(call[0][0], (list, tuple)) or not isinstance(result, (list, tuple)):
            return None
        given, items = list(call[0][0]), list(result)
        try:
            wanted = sorted(given, reverse=falling)
            wrong = not in_order(items)
        except TypeError:
            return None
        if wrong:
            lines = ["result = list(CALL)", f"assert result == sorted(result{', reverse=True' if falling else ''})"]
            return Broken(values.shown(result), "a sorted result", lines)
        if not fewer and wanted != sorted(items, reverse=falling):
            lines = [f"assert sorted(CALL) == {values.source_of(sorted(given))}"]
            return Broken(values.shown(result), "the same items, in order", lines)
        return None

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        return None if got.end or got.error is not None else verdict(call, materialised(got.value))

    by = f"its name, {s.name}" if name else f'its docstring: "{" ".join(said[0].split())}"'  # type: ignore[index]
    yield Promise("sorted", by, 0.9 if name else 0.8, check, lambda call, value: verdict(call, value) is None)


KEEPS_ITEMS = re.compile(r"^(?:re)?sort(?:ed)?_(?!and_|then_|or_|n_|top|out)|_sort(?:ed)?(?:_by_\w+)?$")
LOSES_ITEMS = re.compile(
    r"delet|drop|exclud|keep|discard|skip|merge|group|count|sum|pair|dict|key|topolog|is_|limit|page|slice|trim|\bcut|\bcap|\btake|\bhead|crop|truncat|\blast|at most|and_|then_",
    re.IGNORECASE,
)


def sorted_items(s: Subject) -> Iterator[Promise]:
    """What is called sorted by something has the items that were given, in whatever order."""
    words = f"{s.name} {s.doc}"
    if (
        s.method
        or len(s.required) != 1
        or not KEEPS_ITEMS.search(s.name)
        or FEWER.search(words)
        or LOSES_ITEMS.search(words)
    ):
        return

    def lost(call: Call, result: Any) -> bool:
        if not call[0] or not isinstance(call[0][0], (list, tuple)) or not isinstance(result, (list, tuple)):
            return False
        return len(result) != len(call[0][0]) and all(any(values.equal(x, y) for y in call[0][0]) for x in result)

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        if got.end or got.error is not None or not lost(call, got.value):
            return None
        given = values.source_of(sorted(call[0][0], key=repr))
        lines = [f"assert sorted(CALL, key=repr) == {given}"]
        return Broken(values.shown(got.value), "the same items, in order", lines)

    yield Promise("same items", f"its name, {s.name}", 0.75, check, lambda c, v: not lost(c, v), sometimes=True)


OPPOSITES = (("encode", "decode"), ("compress", "decompress"), ("escape", "unescape"), ("quote", "unquote"), ("encrypt", "decrypt"), ("serialize", "deserialize"), ("pack", "unpack"), ("dumps", "loads"), ("flatten", "unflatten"), ("to", "from"), ("marshal", "unmarshal"), ("encipher", "decipher"), ("serialise", "deserialise"))  # fmt: skip


def round_trip(s: Subject) -> Iterator[Promise]:
    named = INVERSE_OF.search(s.doc)
    partner = named[1] if named and callable(s.neighbours.get(named[1])) else None
    partner = partner or next((p for p in partners(s.name) if callable(s.neighbours.get(p))), None)
    if partner is None or s.method or s.changed or len(s.required) != 1:
        return
    back = s.neighbours[partner]
    words = f"{s.doc} {getattr(back, '__doc__', None) or ''}"
    explicit = named or re.search(r"inverse|round[- ]?trip|decoded? back|opposite of|lossless", words, re.IGNORECASE)
    if LOSSY.search(words.replace("lossless", "").replace("Lossless", "")):
        return
    if not explicit and (re.search(r"(?:^|_)(?:to|from)_", s.name) or not encodes(s.name, partner)):
        return  # X_to_Y may lose something, and several texts may mean the same

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        if got.end or got.error is not None or len(call[0]) != 1 or call[1] or got.value is None:
            return None
        coded = materialised(got.value)
        again = s.invoke(((coded,), {}), back)
        if again.end or (again.error is None and values.same(again.value, call[0][0])):
            return None
        lines = [f"assert {partner}(CALL) == {values.source_of(call[0][0])}"]
        return Broken(
            f"{values.shown(coded)}, of which {partner} makes {told(again)}",
            f"{values.shown(call[0][0])} back from {partner}",
            lines,
        )

    by = f'its docstring: "{" ".join(named[0].split())}"' if named else f"the names {s.name} and {partner}"
    yield Promise("round trip", by, 0.9 if explicit else 0.75, check, sometimes=True)


INVERSE_OF = re.compile(
    r"\b(?:inverse|opposite|reverse)\s+(?:function\s+)?(?:of|to)\s+(?::\w+:)?[`~*]*(\w+)", re.IGNORECASE
)
LOSSY = re.compile(
    r"lossy|loses|quanti[sz]|approximat|\bround(?:s|ed|ing)?\b(?![- ]?trip)|truncat|without|\bdrop|\bignor|whole|nearest|\bstrip|normali|lower|upper|discard|\bonly\b|\bsome\b|not all|\bmay\b",
    re.IGNORECASE,
)
"""Words by which a function says that something is lost on the way."""


def encodes(name: str, partner: str) -> bool:
    """Whether ``name`` is the one that encodes: from several texts the other may read the same."""
    return any(one in name.split("_") and other in partner.split("_") for one, other in OPPOSITES)


def partners(name: str) -> Iterator[str]:
    """Names of what undoes a function of this name."""
    parts = name.split("_")
    for one, other in OPPOSITES:
        for i, part in enumerate(parts):
            if part == one:
                yield "_".join([*parts[:i], other, *parts[i + 1 :]])
    if len(parts) == 3 and parts[1] == "to":
        yield f"{parts[2]}_to_{parts[0]}"


ONCE = re.compile(
    r"^(?:normali[sz]e(?:_(?:white_?space|spaces?|path|text|string|unicode|newlines|case|url|name))?|canonicali[sz]e(?:_\w+)?|dedent|slugify|dedup\w*|uniq(?:ue)?|sanitize(?:_\w+)?|remove_duplicates|strip_(?:white_?space|spaces|tags|accents|punctuation|ansi)|collapse_(?:white_?space|spaces?)|squeeze)$"
)


def idempotent(s: Subject) -> Iterator[Promise]:
    said = re.search(r"idempotent", s.doc, re.IGNORECASE)
    if not (said or (ONCE.match(s.name) and not ESCAPES.search(s.doc))) or len(s.required) != 1 or s.method:
        return

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        if got.end or got.error is not None or len(call[0]) != 1 or call[1] or got.value is None:
            return None
        once = materialised(got.value)
        if not said and not isinstance(once, (str, list, tuple)):
            return None
        again = s.invoke(((once,), {}))
        if again.end or (again.error is None and values.same(again.value, once)):
            return None
        return Broken(
            f"{values.shown(once)}, and of that {told(again)}",
            "a second time changes nothing",
            ["once = CALL", f"assert {s.name}(once) == once"],
        )

    def kept_by(call: Call, value: Any) -> bool:
        again = s.invoke(((value,), {}))
        return bool(said) or again.error is not None or bool(again.end) or values.same(again.value, value)

    by = "its docstring" if said else f"its name, {s.name}"
    yield Promise("idempotent", by, 0.85 if said else 0.55, check, kept_by, sometimes=True)


ESCAPES = re.compile(r"escap|html|quote|encod|entit", re.IGNORECASE)


def own_inverse(s: Subject) -> Iterator[Promise]:
    if (
        not re.match(r"^revers(?:e|ed)(?:_(?:list|string|str|array|text|items|sequence))?$", s.name)
        or len(s.required) != 1
        or s.method
        or re.search(
            r"\bwords?\b|\blines?\b|\beach\b|\bkey|sentence|in[- ]place|token|paragraph|bits?\b", s.doc, re.IGNORECASE
        )
    ):
        return

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        usable = len(call[0]) == 1 and isinstance(call[0][0], (str, list, tuple)) and not call[1]
        if got.end or got.error is not None or not usable or got.value is None:
            return None
        once = materialised(got.value)
        if values.same(once, call[0][0][::-1]):
            return None
        return Broken(
            values.shown(once), values.shown(call[0][0][::-1]), [f"assert CALL == {values.source_of(call[0][0][::-1])}"]
        )

    yield Promise(
        "reversed",
        f"its name, {s.name}",
        0.8,
        check,
        lambda c, v: not c[0] or not isinstance(c[0][0], (str, list)) or values.same(v, c[0][0][::-1]),
        sometimes=True,
    )


LIBRARY: dict[str, Any] = {
    **{n: getattr(statistics, n) for n in ("mean", "median", "fmean", "median_low", "median_high", "harmonic_mean", "geometric_mean", "pstdev", "pvariance", "multimode")},
    **{n: getattr(math, n) for n in ("gcd", "lcm", "factorial", "comb", "perm", "isqrt", "hypot", "prod", "copysign")},
    **{n: getattr(bisect, n) for n in ("bisect_left", "bisect_right")},
    **{n: getattr(builtins, n) for n in ("sorted", "divmod", "sum")},
    **{n: getattr(itertools, n) for n in ("accumulate", "pairwise", "combinations", "permutations") if hasattr(itertools, n)},
}  # fmt: skip


QUALIFIED = re.compile(
    r"upper|lower|\bround|whole|cents|distinct|unique|overlap|weigh|without|\bonly\b|ignor|\bnan\b|\bnone\b|sample|running|moving|trimm|approx|modul|signed|except|\bif\b|instead|not\b|but\b",
    re.IGNORECASE,
)
"""Words by which a function says that it is not quite what the library has under its name."""


def as_the_library(s: Subject) -> Iterator[Promise]:
    theirs = LIBRARY.get(s.name)
    if theirs is None or s.method or not s.required or (not s.documented and QUALIFIED.search(s.doc)):
        return

    def wanted(call: Call) -> Any:
        try:
            return materialised(theirs(*copy.deepcopy(call[0]), **call[1]))
        except Exception:
            return UNKNOWN

    def check(call: Call) -> Broken | None:
        promised = wanted(call)
        if promised is UNKNOWN:
            return None
        got = s.invoke(call)
        if got.end or (got.error is None and values.same(got.value, promised)):
            return None
        text = values.source_of(promised)
        home = theirs.__module__
        return (
            Broken(told(got), f"{values.shown(promised)}, as {home}.{s.name} gives", [f"assert CALL == {text}"])
            if text
            else None
        )

    def kept_by(call: Call, value: Any) -> bool:
        promised = wanted(call)
        return promised is not UNKNOWN and values.same(value, promised)

    yield Promise(
        "as the library",
        f"the name {s.name}, which {theirs.__module__} defines",
        0.85 if s.documented else 0.6,
        check,
        kept_by,
        sometimes=True,
    )
