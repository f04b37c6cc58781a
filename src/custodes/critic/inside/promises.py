"""What a function promises without any example: by its name, its docstring, its types. No model is needed to hold it to that.

A promise counts only where the documented examples keep it. ``check`` calls the function and says what broke, if anything.
"""

from __future__ import annotations

import bisect
import builtins
import copy
import inspect
import itertools
import math
import numbers
import re
import statistics
import types
import typing
from collections.abc import Iterator
from typing import Any

import values
from inputs import Call
from subject import UNKNOWN, Broken, Promise, Subject, materialised, told, written_call


def promises_of(subject: Subject, from_calls: bool) -> list[Promise]:
    """All that apply and that the documented examples keep. ``from_calls``: inputs are like those of real calls."""
    made = [
        *result_of_declared_type(subject),
        *same_twice(subject),
        *leaves_arguments(subject),
        *(list(sorted_result(subject)) or sorted_items(subject)),
        *round_trip(subject),
        *idempotent(subject),
        *own_inverse(subject),
        *as_the_library(subject),
        *no_stray_exception(subject, from_calls),
    ]
    return [p for p in made if all(p.kept_by(call, value) for call, value in subject.documented)]


# ---------------------------------------------------------------- types


def result_of_declared_type(s: Subject) -> Iterator[Promise]:
    hint = s.hints.get("return", inspect.Signature.empty)
    if hint is inspect.Signature.empty:
        return

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        if got.end or got.error is not None or fits(got.value, hint):
            return None
        name = type(got.value).__name__
        if got.value is None:
            return Broken("None", f"a result of type {named(hint)}", ["assert CALL is not None"])
        lines = [f"assert type(CALL).__name__ != {name!r}  # {named(hint)} is declared"]
        return Broken(f"{values.shown(got.value)}, of type {name}", f"a result of type {named(hint)}", lines)

    yield Promise("type", f"the annotation -> {named(hint)}", 0.75, check, lambda call, value: fits(value, hint))


def named(hint: Any) -> str:
    return (
        getattr(hint, "__name__", "")
        if isinstance(hint, type) and not typing.get_args(hint)
        else str(hint).replace("typing.", "")
    )


def fits(value: Any, hint: Any, depth: int = 0) -> bool:
    """False only where a value is clearly of another type: numbers are one family, and what is not understood fits."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is type(None):
        return value is None
    if origin is typing.Union or (hasattr(types, "UnionType") and origin is types.UnionType):
        return any(fits(value, h, depth) for h in inner)
    if value is None:
        return hint in (typing.Any, object, bool) or not (isinstance(hint, type) or origin in CONTAINERS)
    if hint is bool or depth > 3:
        return True
    if hint in (int, float, complex):
        return isinstance(value, numbers.Number) or hasattr(value, "dtype")
    if hint in (str, bytes):
        return isinstance(value, hint) or (hint is bytes and isinstance(value, (bytearray, memoryview)))
    if hint in (list, tuple, set, frozenset, dict):
        origin, inner = hint, ()
    if origin is tuple and isinstance(value, tuple) and inner and Ellipsis not in inner and inner != ((),):
        return len(value) == len(inner) and all(fits(v, h, depth + 1) for v, h in zip(value, inner))  # noqa: B905
    if origin in (list, tuple):
        whole = isinstance(value, (list, tuple)) or (
            not isinstance(value, (str, bytes, dict, int, float)) and not values.is_iterator(value)
        )
        items = list(itertools.islice(value, 20)) if whole and isinstance(value, (list, tuple)) else []
        return whole and (not inner or all(fits(v, inner[0], depth + 1) for v in items))
    if origin in (set, frozenset):
        return not isinstance(value, (str, bytes, int, float, list, tuple))
    if origin is dict:
        if not isinstance(value, dict):
            return not isinstance(value, (str, bytes, int, float, list, tuple, set))
        return len(inner) != 2 or all(
            fits(k, inner[0], depth + 1) and fits(v, inner[1], depth + 1)
            for k, v in itertools.islice(value.items(), 20)
        )
    return True


CONTAINERS = (list, tuple, set, frozenset, dict)


# ---------------------------------------------------------------- behaviour


STATEFUL = re.compile(
    r"random|\btime\b|\bnow\b|today|uuid|\bid\(|next\(|\binput\(|yield|environ|shuffle|\bglobal\b|nonlocal|secrets|perf_counter|urandom"
    r"|monotonic|getpid|\biter\(|\.pop|register|counter|cache|cursor|state",
    re.IGNORECASE,
)


def same_twice(s: Subject) -> Iterator[Promise]:
    if s.method or not s.signature.parameters or STATEFUL.search(f"{s.source} {s.doc}"):
        return

    def check(call: Call) -> Broken | None:
        one = s.invoke(call)
        first = materialised(one.value)
        two = s.invoke(call)
        if one.end or two.end or one.error is not None or first is UNKNOWN:
            return None
        if two.error is None and values.same(materialised(two.value), first):
            return None
        came = f"first {values.shown(first)}, then {told(two)}"
        return Broken(
            came, "the same result for the same arguments", ["first = copy.deepcopy(CALL)", "assert CALL == first"]
        )

    yield Promise("same twice", "its signature: nothing but the arguments may decide", 0.8, check)


KEEPS = re.compile(
    r"(?:does\s+not|doesn't|do\s+not|without|never|not)\s+(?:be\s+)?(?:modif|mutat|chang|alter)\w*\s+(?:the\s+)?(?:original|input|argument|list|given|its|array|dict|sequence)"
    r"|(?:original|input|argument)\s+(?:list|array|dict|sequence|\w+\s+)?\s*is\s+(?:not\s+(?:modified|mutated|changed)|unchanged|left\s+(?:unchanged|untouched|alone))",
    re.IGNORECASE,
)
NEW = re.compile(r"\breturns?\s+(?:a\s+)?(?:new|copy|sorted copy|shallow copy|deep copy)\b", re.IGNORECASE)
IN_PLACE = re.compile(r"in[- ]place", re.IGNORECASE)


def leaves_arguments(s: Subject) -> Iterator[Promise]:
    said = KEEPS.search(s.doc) or NEW.search(s.doc)
    if not said or (IN_PLACE.search(s.doc) and not KEEPS.search(s.doc)):
        return

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        kept = s.invoke.given
        if got.end or got.error is not None or same_calls(kept, call):
            return None
        at = next((i for i, (a, b) in enumerate(zip(kept[0], call[0])) if not values.equal(a, b)), None)  # noqa: B905
        if at is None or not values.source_of(call[0][at]):
            return None
        before, after = call[0][at], kept[0][at]
        source = values.source_of(before)
        lines = [f"given = {source}", written_call(s.name, call, {at: "given"}), f"assert given == {source}"]
        return Broken(f"the argument became {values.shown(after)}", f"the argument stays {values.shown(before)}", lines)

    yield Promise(
        "arguments stay", f'its docstring: "{" ".join(said[0].split())}"', 0.9 if KEEPS.search(s.doc) else 0.75, check
    )


def same_calls(a: Call, b: Call) -> bool:
    try:
        return all(values.equal(x, y) for x, y in zip(a[0], b[0])) and values.equal(a[1], b[1])  # noqa: B905
    except Exception:
        return True


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


# ---------------------------------------------------------------- exceptions

BROKEN_CODE = (NameError, UnboundLocalError)
ON_PURPOSE = (
    NotImplementedError,
    AssertionError,
    KeyboardInterrupt,
    SystemExit,
    StopIteration,
    RecursionError,
    OverflowError,
    UnicodeError,
    Warning,
)


def no_stray_exception(s: Subject, from_calls: bool) -> Iterator[Promise]:
    raised = set(re.findall(r"\braise\s+([A-Za-z_][\w.]*)", s.source)) | set(
        re.findall(r"\b[A-Z]\w*(?:Error|Exception)\b", s.doc)
    )
    vague = bool(re.search(r"\brais(?:e|es|ed|ing)\b|:raises", s.doc, re.IGNORECASE))

    def check(call: Call) -> Broken | None:
        got = s.invoke(call)
        error = got.error
        if got.end or error is None or not isinstance(error, Exception) or got.line == 0:
            return None
        kinds = {k.__name__ for k in type(error).__mro__[:-3]} | {type(error).__name__}
        broken = isinstance(error, BROKEN_CODE)
        if not broken and (vague or isinstance(error, ON_PURPOSE) or kinds & raised or raised_there(s, got.line)):
            return None
        confidence = 0.9 if broken else weight_of(error, from_calls)
        return Broken(told(got), "a result", ["CALL"], got.line, confidence)

    by = "inputs like those that it is called with" if from_calls else "its types"
    yield Promise("no stray exception", by, 0.5, check)


def raised_there(s: Subject, line: int) -> bool:
    """Whether the line of the file raises on purpose."""
    text = s.source.split("\n")
    at = line - s.first
    return 0 <= at < len(text) and bool(re.search(r"\b(?:raise|assert)\b", text[at]))


def weight_of(error: Exception, from_calls: bool) -> float:
    if isinstance(error, (TypeError, AttributeError)) and "NoneType" in str(error):
        return 0.6 if from_calls else 0.4
    if isinstance(error, (IndexError, ZeroDivisionError, KeyError)):
        return 0.45 if from_calls else 0.3
    return 0.35 if from_calls else 0.25
