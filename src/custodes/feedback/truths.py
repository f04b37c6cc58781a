"""Known truths, and what a model states set beside them.

A model of annotators knows no truth: where annotators share errors, all of them wrong together, its probabilities and
reliabilities are too high and nothing in the judgments says so. Truths that are known for some items do.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from custodes.columns import Columns, read_columns
from custodes.stats import Interval, calibration_error, wilson
from custodes.types import InputError

K = TypeVar("K", bound=Hashable)

SHARED_ERRORS = (
    "Where annotators share errors, stated probabilities and reliabilities are too high, which no judgments can show; "
    "known truths do (--truth FILE)."
)
"""Printed below stated probabilities and reliabilities."""

TRUTHS = {"task": ("task_id", "item", "item_id"), "label": ("truth", "gold", "class", "answer")}
PAIR_COLUMNS = {
    "left": ("model_a", "item_a", "first"),
    "right": ("model_b", "item_b", "second"),
    "label": ("winner", "truth", "gold", "better"),
}


@dataclass(frozen=True)
class Realised:
    """What was stated of items whose truth is known, and how often it was right."""

    stated: float
    """Mean probability that was stated for the answers given."""
    right: Interval
    """Share of those answers that are right."""
    calibration_error: Interval
    """Mean distance between what was stated and what came, over bins of what was stated."""

    def __str__(self) -> str:
        sentence = (
            f"right in {self.right.estimate:.1%} [{self.right.low:.1%}, {self.right.high:.1%}] of {self.right.n:,}"
        )
        way = "too sure" if self.stated > self.right.high else "too unsure" if self.stated < self.right.low else ""
        return f"{sentence}; stated {self.stated:.1%}{f', which is {way}' if way else ''}"

    def to_dict(self) -> dict[str, object]:
        return {
            "stated": self.stated,
            "right": self.right.to_dict(),
            "calibration_error": self.calibration_error.to_dict(),
        }


def realised(probability: ArrayLike, right: ArrayLike) -> Realised:
    """Sets what was stated of N answers, ``probability`` (N,), beside whether each was ``right`` (N,).

    Raises InputError where there is none.
    """
    p, r = np.asarray(probability, float), np.asarray(right, float)
    if not len(p):
        raise InputError("none of the known truths is of something that was judged; do the names agree?")
    return Realised(float(p.mean()), wilson(float(r.sum()), len(r)), calibration_error(p, r))


def read_truths(path: str | Path) -> dict[str, str]:
    """The true label of every task in a table with the columns task and label.

    Raises InputError naming file, row and column, also for a task with two truths.
    """
    columns = read_columns(path, TRUTHS)
    return _once(columns, columns.frame["task"].to_list(), columns.frame["label"].to_list())


def read_winners(path: str | Path) -> dict[tuple[str, str], str]:
    """(one item, other item), in the order of their names -> the better one, "" where they are equal.

    The table has the columns left, right and label (the winner's name, empty for a tie). Raises InputError naming file,
    row and column, also for a pair with two truths.
    """
    columns = read_columns(path, PAIR_COLUMNS, optional=frozenset({"label"}), alike=tuple(PAIR_COLUMNS))
    left, right, winner = winners_in(columns)
    pairs = [(min(a, b), max(a, b)) for a, b in zip(left, right, strict=True)]
    return _once(columns, pairs, winner.to_list())


def winners_in(columns: Columns) -> tuple[pl.Series, pl.Series, pl.Series]:
    """(left, right, winner) of a table of comparisons. Raises InputError for a winner that is neither of the two."""
    left, right, label = (columns.frame[name] for name in ("left", "right", "label"))
    names = pl.concat([left, right]).unique()
    if not pl.Series(sum(_SIDES.values(), ())).is_in(names.implode()).any():  # no item is called so
        side = label.str.to_lowercase().str.replace_all(r"[\s_-]+", " ")
        frame = pl.DataFrame({"left": left, "right": right, "label": label, "side": side})
        label = frame.select(
            pl.when(pl.col("side").is_in(_SIDES["left"]))
            .then(pl.col("left"))
            .when(pl.col("side").is_in(_SIDES["right"]))
            .then(pl.col("right"))
            .when(pl.col("side").is_in(_SIDES["tie"]))
            .then(pl.lit(""))
            .otherwise(pl.col("label"))
            .alias("label")
        )["label"]
    wrong = (label != "") & (label != left) & (label != right)
    if wrong.any():
        n = int(wrong.arg_max() or 0)
        raise InputError(
            f"{columns.place(n)}, column 'label': {label[n]!r}; it should be {left[n]!r}, {right[n]!r} or empty for a tie."
        )
    if (left == right).any():
        n = int((left == right).arg_max() or 0)
        raise InputError(f"{columns.place(n)}: {left[n]!r} is compared with itself; give two items.")
    return left, right, label


_SIDES = {  # as an arena writes them
    "left": ("left", "model a", "item a"),
    "right": ("right", "model b", "item b"),
    "tie": ("tie", "tie (bothbad)", "both bad"),
}


def _once(columns: Columns, keys: Sequence[K], values: Sequence[str]) -> dict[K, str]:
    found: dict[K, str] = {}
    for n, (key, value) in enumerate(zip(keys, values, strict=True)):
        if found.setdefault(key, value) != value:
            told = " and ".join(map(repr, key)) if isinstance(key, tuple) else repr(key)
            raise InputError(
                f"{columns.place(n)}: the truth of {told} is {value!r} here and {found[key]!r} in an earlier row; keep one."
            )
    return found
