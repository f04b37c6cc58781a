"""What a function promises without any example: by its name, its docstring, its types. No model is needed to hold it to that.

A promise counts only where the documented examples keep it. ``check`` calls the function and says what broke, if anything.
"""

from __future__ import annotations

import inspect
import itertools
import numbers
import re
import types
import typing
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import relations
import values
from inputs import Call
from subject import UNKNOWN, Broken, Promise, Subject, materialised, told


def promises_of(subject: Subject, from_calls: bool) -> list[Promise]:
    """All that apply and that the documented examples keep. ``from_calls``: inputs are like those of real calls."""
    made = [
        *result_of_declared_type(subject),
        *same_twice(subject),
        *leaves_arguments(subject),
        *([] if subject.awaited else relations.relations_of(subject)),
        *raises_as_said(subject),
        *no_stray_exception(subject, from_calls),
    ]
    return [p for p in made if all(p.kept_by(call, value) for call, value in subject.documented)]


# ---------------------------------------------------------------- types


def result_of_declared_type(s: Subject) -> Iterator[Promise]:
    hint = s.hints.get("return", inspect.Signature.empty)
    if hint is inspect.Signature.empty or s.changed:
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
    if value is NotImplemented:
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin is typing.Union or (hasattr(types, "UnionType") and origin is types.UnionType):
        return any(fits(value, h, depth) for h in inner)
    if value is None:
        return hint in (typing.Any, object, bool, Hashable) or not (isinstance(hint, type) or origin in CONTAINERS)
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
    if (
        s.method
        or s.awaited
        or s.changed
        or s.effects
        or not s.signature.parameters
        or STATEFUL.search(f"{s.source} {s.doc}")
    ):
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


GIVEN = r"(?:(?:original|input|argument|given|passed|its)s?(?:\s+(?:list|array|dict|dictionary|sequence|arguments?|inputs?|values?|items?))?|list|array|dict|sequence)"
NEW = re.compile(
    r"\breturns?\s+(?:an?\s+)?(?:(?:new|modified|updated)\s+(?:list|array|dict|dictionary|set|sequence|copy|matrix)|(?:(?:sorted|shallow|deep|new|modified|updated)\s+)?copy\b(?!\s+of\s+its))",
    re.IGNORECASE,
)
IN_PLACE = re.compile(r"in[- ]place", re.IGNORECASE)
TAKES = re.compile(
    r"\b(?:takes?|pops?|removes?|adds?|appends?|inserts?|pushe?s?|consumes?|drains?|updates?|fills?|registers?|moves?|swaps?|off the|from the)\b",
    re.IGNORECASE,
)
"""Words for what changes its argument on purpose."""


WORDS = {
    "an",
    "it",
    "is",
    "on",
    "no",
    "me",
    "all",
    "any",
    "other",
    "others",
    "this",
    "that",
    "one",
    "order",
    "length",
    "type",
    "name",
    "anything",
}
"""Names of parameters that a sentence may mean otherwise."""


def keeps_said(s: Subject) -> re.Match[str] | None:
    """Where its docstring says, of no case in particular, that an argument stays as it is."""
    own = [name for name in s.signature.parameters if len(name) > 1 and name not in WORDS]
    names = "|".join([GIVEN, *(rf"[`*]*{re.escape(name)}[`*]*" for name in own)])
    change = r"(?:modif|mutat|chang|alter)\w*"
    stays = r"(?:not\s+(?:modified|mutated|changed|altered)|unchanged|unmodified|left\s+(?:unchanged|untouched|alone|as\s+(?:it\s+is|they\s+are)))"
    said = re.compile(
        rf"(?:does\s+not|doesn't|do\s+not|without|never|not)\s+(?:be\s+)?{change}\s+(?:the\s+)?(?:{names})(?![\w'’])"
        rf"|\b(?:{names})\s+(?:is|are|remains?|stays?)\s+{stays}|\bleaves?\s+(?:the\s+)?(?:{names})\s+{stays.replace('left', '(?:left)?')}",
        re.IGNORECASE,
    )
    return relations.unconditional(said, s.doc)


def leaves_arguments(s: Subject) -> Iterator[Promise]:
    explicit = keeps_said(s)
    said = explicit or (relations.unconditional(NEW, s.doc) if not TAKES.search(f"{s.name} {s.doc}") else None)
    if not said or (IN_PLACE.search(s.doc) and not explicit):
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
        lines = [f"given = {source}", s.written(call, {at: "given"}), f"assert given == {source}"]
        return Broken(f"an argument that became {values.shown(after)}", f"one that stays {values.shown(before)}", lines)

    yield Promise("arguments stay", f'its docstring: "{" ".join(said[0].split())}"', 0.9 if explicit else 0.75, check)


def same_calls(a: Call, b: Call) -> bool:
    try:
        return all(values.equal(x, y) for x, y in zip(a[0], b[0])) and values.equal(a[1], b[1])  # noqa: B905
    except Exception:
        return True


# ---------------------------------------------------------------- exceptions

SAID_CASES = (
    (r"negative|(?:less|smaller|lower)\s+than\s+(?:0|zero)|below\s+(?:0|zero)", lambda v: is_number(v) and v < 0),
    (r"not\s+positive|non-?positive|(?:0|zero)\s+or\s+(?:negative|less)", lambda v: is_number(v) and v <= 0),
    (r"(?:equal\s+to\s+)?(?:0|zero)", lambda v: is_number(v) and v == 0),
    (r"(?:an?\s+)?empty(?:\s+\w+)?", lambda v: isinstance(v, (str, list, tuple, dict, set)) and not v),
    (r"None", lambda v: v is None),
)
"""What docstrings say of an argument that is refused, and whether a value is such a one."""
ENDED = r"[`*]*\s*(?:[.;,)\n]|$|or\b)"


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def raises_as_said(s: Subject) -> Iterator[Promise]:
    """ "Raises ValueError if x is negative", and the like in the styles of Google and Sphinx."""
    for name in s.signature.parameters:
        for what, applies in SAID_CASES:
            said = re.search(
                rf"\b(?P<kind>[A-Z]\w*(?:Error|Exception))[`*]*\s*[:,\u2013-]?\s*(?:is\s+raised\s+)?(?:[Ii]f|[Ww]hen)\s+(?:the\s+)?[`*]*{re.escape(name)}[`*]*\s+(?:is|are)\s+[`*]*(?:{what}){ENDED}",
                s.doc,
            )
            if said:
                yield raising(s, name, said, applies)


def raising(s: Subject, name: str, said: re.Match[str], applies: Callable[[Any], bool]) -> Promise:
    kind = said["kind"]

    def check(call: Call) -> Broken | None:
        skipped = 1 if s.instances else 0
        given = s.signature.bind(*call[0][skipped:], **call[1]).arguments
        if name not in given or not applies(given[name]):
            return None
        got = s.invoke(call)
        if got.end or got.error is not None:
            return None
        lines = [
            "try:",
            "    CALL",
            f"except {kind}:",
            "    pass",
            "else:",
            f'    raise AssertionError("{kind} was promised")',
        ]
        return Broken(values.shown(got.value), f"a raised {kind}", lines)

    return Promise("raises", f'its docstring: "{" ".join(said[0].split()).rstrip(".,;")}"', 0.85, check)


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
        if broken and there_elsewhere(s, error):
            return None
        if not broken and (vague or isinstance(error, ON_PURPOSE) or kinds & raised or raised_there(s, got.line)):
            return None
        confidence = 0.9 if broken else weight_of(error, from_calls)
        return Broken(told(got), "a result", ["CALL"], got.line, confidence)

    by = "inputs like those that it is called with" if from_calls else "its types"
    yield Promise("no stray exception", by, 0.5, check)


PUT_THERE = {"_", "__", "N_", "_n", "_p", "gettext", "ngettext", "pgettext", "npgettext", "profile", "get_ipython", "display", "reveal_type", "WindowsError", "copyright", "credits", "exit", "quit"}  # fmt: skip
"""Names that a program puts among the built-in ones, or that only some systems have."""


def there_elsewhere(s: Subject, error: Exception) -> bool:
    """Whether a missing name is bound somewhere in the file, as by an import for another system, or by the program around it."""
    name = getattr(error, "name", None) or "".join(re.findall(r"name '(\w+)'", str(error)))
    return not isinstance(error, UnboundLocalError) and name in PUT_THERE | s.bound


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
