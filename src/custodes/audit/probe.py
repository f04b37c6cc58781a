"""What a probe is: it asks one model after another the same, and says how they differ.

A probe is a plug-in, one file of ``audit/probes``: a dataclass whose fields are its options. There are two sorts. One asks
items of its own (:meth:`Probe.items`, :meth:`Probe.observe`). The other reads the replies that are drawn once and
shared by all (``reads = "replies"``). Both say what they found in :meth:`Probe.figures`, of columns that the ledger holds.

Letters: N items or replies, M models.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from custodes.audit.choice import BRACKETED, ChoiceItem
from custodes.audit.rows import Row
from custodes.lm.choices import RepliesTold
from custodes.stats import Interval, mean_interval, paired_difference, rate
from custodes.table_sources import EXTENSIONS
from custodes.types import InputError

ProbeColumns = Mapping[str, Sequence[Any]]
"""Name -> a value for each item, as JSON has it: what a probe observed of one model."""
Form = Literal["percent", "number"]


class NoItems(InputError):  # noqa: N818 - what is missing, not who erred
    """There is nothing to ask: no file of the probe was given or found."""


@dataclass(frozen=True, kw_only=True)
class ModelProbed(Row):
    """What a probe observed of a model, for the items from ``start`` on; ``subject`` is the model's name in the comparison.

    ``why_not`` says why nothing was observed.
    """

    NAME: ClassVar[str] = "model_probed"

    probe: str
    start: int
    columns: dict[str, list[Any]] = field(default_factory=dict)
    why_not: str = ""

    @property
    def n(self) -> int:
        return len(next(iter(self.columns.values()), []))


@dataclass(frozen=True, slots=True)
class ProbeFigure:
    """One quantity: of every model of which it is known, and its difference from the first model where items are paired."""

    name: str
    models: dict[str, Interval]
    differences: dict[str, Interval]
    form: Form = "number"
    note: str = ""

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> ProbeFigure:
        """As JSON has it."""
        models, differences = (
            {model: Interval.from_dict(x) for model, x in told[name].items()} for name in ("models", "differences")
        )
        return cls(told["name"], models, differences, told["form"], told["note"])


@dataclass(frozen=True, slots=True)
class KnownItem:
    """A multiple-choice item of which one option is right."""

    choice: ChoiceItem
    right: int

    def shuffled(self, rng: random.Random) -> KnownItem:
        """The same with its options in another order, which ``rng`` draws."""
        order = list(range(len(self.choice.options)))
        rng.shuffle(order)
        options = tuple(self.choice.options[k] for k in order)
        return KnownItem(ChoiceItem(self.choice.question, options, self.choice.cluster), order.index(self.right))


@dataclass(frozen=True, slots=True)
class ProbeSetting:
    """What holds for all models of a comparison."""

    letters: tuple[str, ...] = BRACKETED
    """What names options: brackets take several tokens, which not every endpoint tells of."""


@dataclass(frozen=True, kw_only=True)
class Probe(ABC):
    """One probe; a field is an option of it."""

    title: ClassVar[str]
    asks: ClassVar[str]
    """What is asked and what the numbers mean: sentences for the report."""
    reads: ClassVar[Literal["items", "replies"]] = "items"
    headline: ClassVar[tuple[str, ...]] = ()
    """Names of the figures that the report's summary tells of."""
    data: ClassVar[Mapping[str, str]] = {}
    """Option -> where its file stands in a folder of data, without extension."""
    own: ClassVar[str] = ""
    """What the built-in items are, of a probe that has some for where no file is found."""
    cannot: ClassVar[str] = ""
    """What must not be concluded."""
    nothing: ClassVar[str] = "its engine gives no log-probabilities of what it says."
    """Why there is no figure, where there is none."""

    def items(self, data: Path | None, at_most: int, seed: int) -> list[Any]:
        """Up to so many items, drawn by ``seed``. Raises NoItems where there are none, InputError for a file that is wrong."""
        return []

    def observe(self, engine: RepliesTold, items: Sequence[Any], setting: ProbeSetting) -> ProbeColumns:
        """What a model says to some of the items. Raises :class:`~custodes.lm.given.CannotTell` where it cannot be asked."""
        raise NotImplementedError

    @abstractmethod
    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[Any]) -> list[ProbeFigure]:
        """What all models' columns say, by the model's name, the first model first."""

    def charts(self, observed: Mapping[str, ProbeColumns], items: Sequence[Any]) -> dict[str, str]:
        """Charts of the probe's own: caption -> SVG."""
        return {}

    def files(self, data: Path | None) -> dict[str, Path]:
        """Option -> the file to read: the one that was given, else the one in the folder ``data``.

        Without any, a probe with items of its own has none, and any other raises NoItems.
        """
        given = {name: Path(path) for name in self.data if (path := getattr(self, name)) is not None}
        found = {name: file for name, stem in self.data.items() if data and (file := _table(data / stem))}
        if self.data and not given and not found and not self.own:
            flags = " or ".join(f"--{name.replace('_', '-')}" for name in self.data)
            places = " or ".join(self.data.values())
            raise NoItems(f"no file to read: give {flags}, or --data with a folder that holds {places}")
        return found | given

    def source(self, data: Path | None) -> str:
        """Where the items come from, in words."""
        names = [file.name for file in self.files(data).values()]
        return f"items of {' and '.join(names)}" if names else f"built-in items, {self.own}"


def drawn_items(items: Sequence[Any], at_most: int, seed: int) -> list[Any]:
    """``at_most`` of the items, drawn without replacement, in their order."""
    if len(items) <= at_most:
        return list(items)
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), at_most))]


def paired_figure(
    name: str,
    values: Mapping[str, ArrayLike],
    clusters: Sequence[Hashable],
    form: Form = "percent",
    note: str = "",
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> ProbeFigure:
    """A mean of every model, and its paired difference from the first one, with intervals over ``clusters`` (N,).

    ``values`` are (N,) by model, NaN where an item has none; percentages lie in 0..1, others within ``bounds``. Where all
    values of a percentage are 0 or 1 the interval is that of a rate. A model without values has no figure.
    """
    if form == "percent":
        bounds = (0.0, 1.0)
    known = {model: x for model, given in values.items() if np.isfinite(x := np.asarray(given, float)).any()}
    models = {}
    for model, x in known.items():
        there = np.flatnonzero(np.isfinite(x)).tolist()
        of = rate if form == "percent" and np.isin(x[there], (0, 1)).all() else mean_interval
        models[model] = of(x[there], [clusters[i] for i in there]).within(*bounds)
    differences = {}
    for first, x, model, y in _against_first(values, known):
        both = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
        if len(both) and first != model:
            reach = bounds[1] - bounds[0]
            difference = paired_difference(y[both], x[both], [clusters[i] for i in both])
            differences[model] = difference.within(-reach, reach)
    return ProbeFigure(name, models, differences, form, note)


def column(observed: Mapping[str, ProbeColumns], name: str) -> dict[str, list[Any]]:
    """Model -> its column of this name, of the models that have it."""
    return {model: list(columns[name]) for model, columns in observed.items() if name in columns}


def _against_first(values: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, Any]]:
    first = next(iter(values), "")
    if first in known:
        yield from ((first, known[first], model, x) for model, x in known.items())


def _table(stem: Path) -> Path | None:
    """The table of this name, whatever its kind, or None."""
    found = sorted(file for file in stem.parent.glob(f"{stem.name}.*") if file.name.lower().endswith(EXTENSIONS))
    return found[0] if found else None
