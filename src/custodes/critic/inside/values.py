"""Values against what somebody wrote down: examples are often loose about quotes, digits, brackets and order of sets."""

from __future__ import annotations

import ast
import itertools
import math
import numbers
import re
from typing import Any

MOST = 10_000  # items of an iterator that are looked at
LONGEST = 300  # characters of a value that are shown
RELATIVE = 1e-6
WORDS = {"true": "True", "false": "False", "null": "None", "nil": "None", "none": "None", "nan": "float('nan')", "inf": "float('inf')"}  # fmt: skip
BARE = re.compile(r"(?<![\w'\"])(true|false|null|nil|none|nan|inf)(?![\w'\"(])")
DECIMALS = re.compile(r"(?<![\w.])-?\d+\.(\d+)(?![\w.])")
ELSEWHERE = re.compile(r" at 0x[0-9a-fA-F]+|<\w[^<>]* object|\bid=\d{6,}")


class Unreadable(ValueError):  # noqa: N818 (of a text, not of ours)
    """A text that is no value."""


def read_value(text: str, names: dict[str, Any]) -> Any:
    """What a written value means: a literal, or calls of names that are there, as ``Fraction(1, 2)``. Raises Unreadable."""
    for form in dict.fromkeys((text.strip(), BARE.sub(lambda m: WORDS[m[1]], text.strip()))):
        try:
            tree = ast.parse(form, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        if isinstance(tree.body, ast.Name) and tree.body.id not in ("True", "False", "None"):
            continue
        try:
            return eval(compile(tree, "value", "eval"), {"set": set, "float": float, "frozenset": frozenset, **names})
        except Exception:
            continue
    raise Unreadable(text)


def same(value: Any, promised: Any, slack: float = 0.0, depth: int = 0) -> bool:
    """Whether two values agree as a reader would say: numbers nearly, lists and tuples alike, an iterator by its items.

    ``slack`` is the absolute difference that the digits of a written number leave open.
    """
    if depth > 40:
        return True
    if isinstance(promised, bool) or isinstance(value, bool):
        return agree_as_bool(value, promised)
    if isinstance(value, numbers.Number) and isinstance(promised, numbers.Number):
        return near(value, promised, slack)
    if isinstance(value, str) and isinstance(promised, str):
        return value == promised or value.strip() == promised.strip()
    if isinstance(value, (set, frozenset)) and isinstance(promised, (list, tuple, set, frozenset)):
        return same_items(list(value), list(promised), slack, depth)
    if isinstance(value, dict) and isinstance(promised, dict):
        return len(value) == len(promised) and all(
            k in value and same(value[k], v, slack, depth + 1) for k, v in promised.items()
        )
    if isinstance(promised, (list, tuple)) and not isinstance(value, (str, bytes, dict)):
        items = listed(value)
        if items is not None:
            pairs = zip(items, promised)  # noqa: B905 (Python 3.9)
            return len(items) == len(promised) and all(same(a, b, slack, depth + 1) for a, b in pairs)
    return equal(value, promised)


def agree_as_bool(value: Any, promised: Any) -> bool:
    try:
        return bool(value) == bool(promised) if isinstance(promised, bool) else equal(value, promised)
    except Exception:
        return False


def near(value: Any, promised: Any, slack: float) -> bool:
    try:
        if value == promised or (value != value and promised != promised):
            return True
        gap = abs(value - promised)
        return bool(gap <= max(slack, RELATIVE * max(abs(value), abs(promised)))) and not math.isinf(abs(promised))
    except Exception:
        return False


def same_items(values: list[Any], promised: list[Any], slack: float, depth: int) -> bool:
    """As sets."""
    return all(any(same(a, b, slack, depth + 1) for b in promised) for a in values) and all(
        any(same(a, b, slack, depth + 1) for a in values) for b in promised
    )


def of_one_sort(value: Any, promised: Any) -> bool:
    """Whether both are numbers, of one type, or sequences whose first items are of one sort; iterators count as lists, None as anything."""
    if (
        value is None
        or promised is None
        or (isinstance(value, numbers.Number) and isinstance(promised, numbers.Number))
    ):
        return True
    sides = [None if isinstance(x, (str, bytes, dict)) else listed(x) for x in (value, promised)]
    if sides[0] is None or sides[1] is None:
        return type(value) is type(promised)
    if isinstance(value, tuple) != isinstance(promised, tuple):
        return False
    return not sides[0] or not sides[1] or of_one_sort(sides[0][0], sides[1][0])


def listed(value: Any) -> list[Any] | None:
    """The items of a sequence, a view, an array or an iterator; None for what has none."""
    if hasattr(value, "tolist") and not isinstance(value, memoryview):
        try:
            value = value.tolist()
        except Exception:
            return None
    if isinstance(value, (set, frozenset)):
        return None
    try:
        return list(itertools.islice(iter(value), MOST))
    except Exception:
        return None


def equal(value: Any, promised: Any) -> bool:
    try:
        if bool(value == promised):
            return True
    except Exception:
        pass
    try:
        return type(value) is type(promised) and repr(value) == repr(promised) and not ELSEWHERE.search(repr(value))
    except Exception:
        return False


def slack_of(text: str) -> float:
    """Half a unit of the last digit of the shortest number with two decimals or more; 0 where there is none."""
    digits = [len(found) for found in DECIMALS.findall(text)]
    return 0.505 * 10.0 ** -min(digits) if digits and min(digits) >= 2 else 0.0


def shown(value: Any, longest: int = LONGEST) -> str:
    """A value on one line, cut where it is long."""
    if is_iterator(value):
        return f"an iterator of {type(value).__name__}"
    try:
        text = repr(value)
    except Exception as error:
        text = f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    text = text.replace("\n", " ")
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def is_iterator(value: Any) -> bool:
    return hasattr(value, "__next__") and hasattr(value, "__iter__") and not hasattr(value, "read")


def source_of(value: Any) -> str:
    """An expression that makes the value again; "" where there is none. Floats that are not finite are spelled out."""
    try:
        text = repr(value)
        if isinstance(value, float) and not math.isfinite(value):
            return f"float('{value}')"
        if len(text) <= 20 * LONGEST and repr(ast.literal_eval(text)) == text:
            return text
    except Exception:
        pass
    if type(value) in (list, tuple, set, frozenset, dict):
        return source_of_collection(value)
    return ""


def source_of_collection(value: Any) -> str:
    if isinstance(value, dict):
        parts = [(source_of(k), source_of(v)) for k, v in value.items()]
        return "{" + ", ".join(f"{k}: {v}" for k, v in parts) + "}" if all(k and v for k, v in parts) else ""
    items = [source_of(v) for v in value]
    if not all(items):
        return ""
    inner = ", ".join(items)
    if isinstance(value, list):
        return f"[{inner}]"
    if isinstance(value, tuple):
        return f"({inner},)" if len(items) == 1 else f"({inner})"
    return f"{type(value).__name__}([{inner}])"
