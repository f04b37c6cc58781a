"""Inputs for a function: like those that examples, tests and callers give it, else as its type hints say."""

from __future__ import annotations

import collections.abc
import copy
import datetime
import decimal
import enum
import fractions
import inspect
import types
import typing
from typing import Any

from hypothesis import strategies as st

Call = typing.Tuple[typing.Tuple[Any, ...], typing.Dict[str, Any]]  # noqa: UP006 (Python 3.9)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SMALL = 20  # the largest number, and twice the largest length, where nothing else is known
LONG_RUN = 11  # equal characters in a row: more than one digit can count
ABSENT = object()


class NoInputs(Exception):  # noqa: N818 (nothing is wrong with the code)
    """No inputs can be made up."""


def calls_like(signature: inspect.Signature, hints: dict[str, Any], seen: list[Call]) -> tuple[Any, str]:
    """A strategy for (args, kwargs), and from what it was inferred: "calls" seen, or "types". Raises NoInputs.

    A parameter with a default is given where calls that were seen give it.
    """
    bound = []
    for args, kwargs in seen:
        try:
            bound.append(signature.bind(*args, **kwargs).arguments)
        except TypeError:
            continue
    parts: dict[str, Any] = {}
    source = "calls" if bound else "types"
    for p in signature.parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        values = [b[p.name] for b in bound if p.name in b]
        if values:
            parts[p.name] = like(values) if len(values) == len(bound) else st.one_of(st.just(ABSENT), like(values))
        elif p.default is p.empty:
            if p.name not in hints:
                raise NoInputs(f"nothing says what {p.name} is")
            parts[p.name] = of_hint(hints[p.name])
    kinds = {p.name: p.kind for p in signature.parameters.values()}
    together = relations(bound)

    def made(values: dict[str, Any]) -> Call:
        for relation in together:
            relation(values)
        args, kwargs = [], {}
        positional = True
        for name in parts:
            value = values[name]
            if value is ABSENT:
                positional = False
            elif (
                kinds[name] in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
                and positional
            ):
                args.append(value)
            else:
                kwargs[name] = value
        return tuple(args), kwargs

    return st.fixed_dictionaries(parts).map(made), source


def relations(bound: list[dict[str, Any]]) -> list[Any]:
    """What holds between arguments in every call seen: equal lengths, a number that is an index or a count of a sequence,
    an item that is in one. Each becomes a function that makes it hold."""
    found: list[Any] = []
    names = [n for n in (bound[0] if bound else ()) if all(n in b for b in bound)]
    for a in names:
        for b in names:
            if a == b or not all(sized(x[a]) for x in bound):
                continue
            if a < b and all(sized(x[b]) and len(x[a]) == len(x[b]) for x in bound) and len(bound) > 1:
                found.append(
                    lambda v, a=a, b=b: (
                        v.update({a: v[a][: min(len(v[a]), len(v[b]))], b: v[b][: min(len(v[a]), len(v[b]))]})
                        if sized(v[a]) and sized(v[b])
                        else None
                    )
                )
            elif all(type(x[b]) is int and 0 <= x[b] < max(1, len(x[a])) for x in bound):
                found.append(lambda v, a=a, b=b: v.update({b: v[b] % max(1, len(v[a]))}))
            elif all(type(x[b]) is int and 0 <= x[b] <= len(x[a]) for x in bound):
                found.append(lambda v, a=a, b=b: v.update({b: v[b] % (len(v[a]) + 1)}))
    return found


def sized(value: Any) -> bool:
    return isinstance(value, (list, tuple, str))


def like(values: list[Any]) -> Any:
    """Values of the same types, within what was seen: signs, emptiness, order, characters, lengths and a little more."""
    by_type: dict[type, list[Any]] = {}
    for value in values:
        by_type.setdefault(type(value), []).append(value)
    return st.one_of(*[like_of(kind, found) for kind, found in by_type.items()])


def like_of(kind: type, values: list[Any]) -> Any:
    if kind is bool:
        return st.booleans()
    if kind is int:
        low, high = bounds(values, 1)
        return st.integers(int(low), int(high))
    if kind is float:
        low, high = bounds([v for v in values if v == v and abs(v) < 1e15] or [0.0], 1)
        steps = st.integers(int(low * 4), max(int(low * 4), int(high * 4)))
        return steps.map(lambda n: n / 4)
    if kind is str:
        return like_text(values)
    if kind in (list, tuple):
        return like_sequence(kind, values)
    if kind in (set, frozenset):
        items = [item for value in values for item in value]
        least, most = lengths(values)
        inner = st.lists(like(items), min_size=least, max_size=most) if items else st.just([])
        return inner.map(kind)
    if kind is dict and all(value for value in values):
        keys, inside = [k for v in values for k in v], [x for v in values for x in v.values()]
        return st.dictionaries(like(keys), like(inside), min_size=1, max_size=lengths(values)[1])
    return st.sampled_from(values).map(copied)


def copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def bounds(values: list[Any], step: int) -> tuple[Any, Any]:
    """The range of numbers: signs as seen and zero, which few examples show, up to twice the largest or the default."""
    low, high = min(values), max(values)
    most = max(abs(low), abs(high), SMALL if len(values) > 1 else 10)
    reach = 2 * most if most < 1000 else most
    return (-reach if low < 0 else 0 if low == 0 or len(values) < 3 else min(low, step)), (
        reach if high > 0 else 0 if high == 0 else -step
    )


def lengths(values: list[Any]) -> tuple[int, int]:
    sizes = [len(v) for v in values]
    return (0 if min(sizes) == 0 else 1), max(max(sizes) + 2, 4) if max(sizes) < 60 else 60


def like_text(values: list[str]) -> Any:
    seen = sorted({c for v in values for c in v})
    if len(seen) > 12 and all(v.isalpha() for v in values if v):
        seen = sorted({*seen, *LETTERS})
    least, most = lengths(values)
    if not seen:
        return st.just("")
    drawn = st.text(st.sampled_from(seen), min_size=least, max_size=most)
    runs = st.tuples(st.sampled_from(seen), st.integers(1, LONG_RUN)).map(lambda part: part[0] * part[1])
    return st.one_of(drawn, drawn, drawn, runs)


def like_sequence(kind: type, values: list[Any]) -> Any:
    sizes = {len(v) for v in values}
    if kind is tuple and len(sizes) == 1 and values[0]:
        return st.tuples(*[like([v[i] for v in values]) for i in range(len(values[0]))])
    items = [item for value in values for item in value]
    if not items:
        return st.just(kind())
    least, most = lengths(values)
    whole = st.lists(like(items), min_size=least, max_size=most)
    if all(ordered(v) for v in values) and any(len(v) > 2 for v in values):
        whole = whole.map(lambda v: sorted(v) if ordered(sorted_or_none(v)) else v)
    if all(distinct(v) for v in values) and any(len(v) > 2 for v in values):
        whole = whole.map(lambda v: unique(v))
    return whole if kind is list else whole.map(tuple)


def sorted_or_none(value: Any) -> Any:
    try:
        return sorted(value)
    except TypeError:
        return None


def ordered(value: Any) -> bool:
    try:
        return value is not None and all(a <= b for a, b in zip(value, value[1:]))  # noqa: B905, RUF007 (Python 3.9)
    except TypeError:
        return False


def distinct(value: Any) -> bool:
    return len(unique(value)) == len(value)


def unique(value: Any) -> list[Any]:
    found: list[Any] = []
    for item in value:
        if item not in found:
            found.append(item)
    return found


def of_hint(hint: Any, depth: int = 0) -> Any:
    """Values of a type hint, small ones. Raises NoInputs for a type of which none can be made."""
    if depth > 4:
        raise NoInputs("its types nest too deeply")
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return of_hint(inner[0], depth)
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin is typing.Union or (hasattr(types, "UnionType") and origin is types.UnionType):
        return st.one_of(*possible(inner, depth))
    if hint in SIMPLE:
        return SIMPLE[hint]
    if origin in LISTS or hint in LISTS:
        return st.lists(of_hint(inner[0] if inner else int, depth + 1), max_size=SMALL // 2)
    if origin is tuple:
        if len(inner) == 2 and inner[1] is Ellipsis:
            return st.lists(of_hint(inner[0], depth + 1), max_size=SMALL // 2).map(tuple)
        return st.tuples(*[of_hint(t, depth + 1) for t in inner])
    if origin in SETS or hint in SETS:
        return st.lists(of_hint(inner[0] if inner else int, depth + 1), max_size=6).map(set)
    if origin in DICTS or hint in DICTS:
        k, v = inner if len(inner) == 2 else (str, int)
        return st.dictionaries(of_hint(k, depth + 1), of_hint(v, depth + 1), max_size=5)
    if isinstance(hint, typing.TypeVar):
        return (
            of_hint(hint.__bound__, depth + 1)
            if hint.__bound__
            else st.one_of(*possible(hint.__constraints__ or (int,), depth))
        )
    if inspect.isclass(hint) and issubclass(hint, enum.Enum) and list(hint):
        return st.sampled_from(list(hint))
    raise NoInputs(f"no value of {getattr(hint, '__name__', None) or str(hint)} can be made up")


def possible(hints: Any, depth: int) -> list[Any]:
    """Strategies of those members of a union of which values can be made. Raises NoInputs where none can."""
    found, last = [], NoInputs("no value can be made up")
    for hint in hints:
        try:
            found.append(of_hint(hint, depth + 1))
        except NoInputs as reason:
            last = reason
    if not found:
        raise last
    return found


SIMPLE: dict[Any, Any] = {
    int: st.integers(-SMALL, SMALL),
    float: st.one_of(st.integers(-SMALL, SMALL).map(float), st.integers(-4 * SMALL, 4 * SMALL).map(lambda n: n / 4)),
    bool: st.booleans(),
    str: st.text(st.sampled_from(f"{LETTERS[:6]}AB01 -_."), max_size=8),
    bytes: st.binary(max_size=8),
    complex: st.tuples(st.integers(-5, 5), st.integers(-5, 5)).map(lambda p: complex(*p)),
    type(None): st.none(),
    None: st.none(),
    decimal.Decimal: st.integers(-80, 80).map(lambda n: decimal.Decimal(n) / 4),
    fractions.Fraction: st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(lambda p: fractions.Fraction(*p)),
    datetime.date: st.dates(datetime.date(1999, 1, 1), datetime.date(2030, 12, 31)),
    datetime.datetime: st.datetimes(datetime.datetime(1999, 1, 1), datetime.datetime(2030, 12, 31)),
    datetime.timedelta: st.integers(-1000, 1000).map(lambda n: datetime.timedelta(minutes=n)),
}
LISTS = (list, typing.List, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection, collections.abc.MutableSequence)  # fmt: skip # noqa: UP006
SETS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
