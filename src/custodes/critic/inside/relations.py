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


SORTS = re.compile(
    r"^(?!.*(?:topo|is_|natural|argsort|wiggle|partial|by_|_by|key|third|even|odd|check|strange|half|index|like))(?:[a-z]+_?)?sort(?:ed)?(?:_(?:list|array|numbers|integers|items|values|ascending|descending|asc|desc))?$"
)
SORTED_SAID = re.compile(
    r"\b(?:returns?|gives?|yields?)\s+(?:the\s+|a\s+|an\s+)?(?:new\s+)?(?:\w+\s+)?sorted\s+(?:list|array|copy|sequence|version)|\bsorts?\s+(?:the\s+|a\s+|an\s+)?(?:given\s+|input\s+)?(?:list|array|sequence|numbers|integers)\s+(?:of\s+\w+\s+)?in\s+(?:ascending|increasing|descending|decreasing|non-decreasing)",
    re.IGNORECASE,
)
OTHERWISE = re.compile(
    r"\bby\b|\bkey\b|indic|index|third|even|odd|except|\bonly\b|custom|order of|topolog|natural|absolute|length|frequen|strange|lexico|alphabet|partial|first|if\b",
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


KEEPS_ITEMS = re.compile(r"^(?:re)?sort(?:ed)?_|_sort(?:ed)?(?:_by_\w+)?$")
LOSES_ITEMS = re.compile(
    r"delet|drop|exclud|keep|discard|skip|merge|group|count|sum|pair|dict|key|topolog|is_", re.IGNORECASE
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
    partner = next((p for p in partners(s.name) if callable(s.neighbours.get(p))), None)
    if partner is None or s.method or len(s.required) != 1:
        return
    back = s.neighbours[partner]

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

    words = f"{s.doc} {getattr(back, '__doc__', None) or ''}"
    explicit = re.search(r"inverse|round[- ]?trip|decoded? back|opposite of", words, re.IGNORECASE)
    weak = s.name.startswith("to_") or "_to_" in s.name
    yield Promise(
        "round trip",
        f"the names {s.name} and {partner}",
        0.9 if explicit else 0.6 if weak else 0.75,
        check,
        sometimes=True,
    )


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
    r"^(?:normali[sz]e|canonicali[sz]e|dedent|slugify|dedupe|dedup|deduplicate|uniq|unique|sanitize|remove_duplicates|strip_\w+|collapse_\w+|clamp|squeeze)\w*$"
)


def idempotent(s: Subject) -> Iterator[Promise]:
    said = re.search(r"idempotent", s.doc, re.IGNORECASE)
    if not (said or ONCE.match(s.name)) or len(s.required) != 1 or s.method:
        return

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        if got.end or got.error is not None or len(call[0]) != 1 or call[1] or got.value is None:
            return None
        once = materialised(got.value)
        again = s.invoke(((once,), {}))
        if again.end or (again.error is None and values.same(again.value, once)):
            return None
        return Broken(
            f"{values.shown(once)}, and of that {told(again)}",
            "a second time changes nothing",
            ["once = CALL", f"assert {s.name}(once) == once"],
        )

    yield Promise(
        "idempotent", "its docstring" if said else f"its name, {s.name}", 0.85 if said else 0.55, check, sometimes=True
    )


def own_inverse(s: Subject) -> Iterator[Promise]:
    if (
        not re.match(r"^revers(?:e|ed)(?:_(?:list|string|str|array|text|items|sequence))?$", s.name)
        or len(s.required) != 1
        or s.method
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


def as_the_library(s: Subject) -> Iterator[Promise]:
    theirs = LIBRARY.get(s.name)
    if theirs is None or s.method or not s.required:
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
