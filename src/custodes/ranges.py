"""Which values a numeric option may have: written in its annotation, checked and told by one function.

A field is ``learning_rate: Annotated[float, above(0)]``, or one of the names below; a number without a range must be 0 or
more. None is infinite or NaN. :func:`ranged` checks a dataclass whenever one is made, from Python as from the command line.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from custodes.errors import InputError

T = TypeVar("T")
LARGEST = 2**63 - 1
"""The largest whole number that databases, and the seeds of PyTorch, hold."""


@dataclass(frozen=True, slots=True)
class Range:
    """The finite numbers from ``low`` to ``high``; an end is left out where it is open."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        if isinstance(value, int) and abs(value) > LARGEST:
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"{self.low:g} or more"
        high = f"below {self.high:g}" if self.open_high else f"at most {self.high:g}"
        if self.low == -math.inf:
            return "finite" if self.high == math.inf else high
        if self.high == math.inf:
            return low
        return f"from {self.low:g} to {self.high:g}" if not self.open_low | self.open_high else f"{low} and {high}"


def _above(low: float) -> Range:
    return Range(low, open_low=True)


def at_least(low: float) -> Range:
    return Range(low)


Count = Annotated[int, at_least(1)]
Positive = Annotated[float, _above(0)]
Share = Annotated[float, Range(0, 1)]
"""0 to 1, both included."""
PartShare = Annotated[float, Range(0, 1, open_high=True)]
"""0 or more, below 1."""
Threads = Annotated[int, Range(0, 1024)]
"""0 leaves it to PyTorch; so many that no machine has them would use up its memory."""
Port = Annotated[int, Range(1, 65535)]
AnyInt = Annotated[int, Range()]
AnyFloat = Annotated[float, Range()]


def ranged(kind: type[T]) -> type[T]:
    """Class decorator, beneath ``@dataclass``: its numbers are checked before its ``__post_init__``, which may be inherited."""
    own = getattr(kind, "__post_init__", None)

    def check(self: Any) -> None:
        check_ranges(self)
        if own is not None:
            own(self)

    kind.__post_init__ = check  # type: ignore[attr-defined]
    return kind


def check_ranges(options: Any) -> None:
    """Raises InputError where a number of a dataclass, or of one inside it, is out of its range."""
    ranges = _ranges_of(type(options))  # type: ignore[arg-type]
    for name, range_ in ranges.items():
        value = getattr(options, name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool) and not range_.holds(number):
                raise InputError(f"option {name} is {number!r}; it must be {range_}{_besides(number, range_)}.")
    for f in fields(options):
        if is_dataclass(value := getattr(options, f.name)) and not isinstance(value, type):
            check_ranges(value)


def _besides(number: float, range_: Range) -> str:
    """What a number must be besides in its range."""
    if isinstance(number, int):
        return f", and at most {LARGEST:,}" if abs(number) > LARGEST and range_.high == math.inf else ""
    return "" if math.isfinite(number) or range_ == Range() else ", and finite"


@functools.cache
def _ranges_of(kind: type) -> dict[str, Range]:
    """The range of every field that holds a number, numbers or None."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for f in fields(kind):
        parts = list(parts_of_hint(hints[f.name]))
        if int in parts or float in parts:
            found[f.name] = next((p for p in parts if isinstance(p, Range)), at_least(0))
    return found


def parts_of_hint(hint: Any) -> Iterator[Any]:
    """A type, what it is made of, and what it is annotated with."""
    yield hint
    for part in (*get_args(hint), *getattr(hint, "__metadata__", ())):
        yield from parts_of_hint(part)
