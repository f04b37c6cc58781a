"""Comparisons in files: ``worker,left,right,label`` in, the annotator model out; items with quality and rank to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from custodes.columns import Columns, numbered, read_columns, write_columns
from custodes.feedback.annotator_model import AnnotatorMethod, AnnotatorModel, fit_comparisons
from custodes.feedback.bradley_terry import Comparisons
from custodes.feedback.labels.files import WORKER
from custodes.feedback.ranking import Standing
from custodes.feedback.truths import PAIR_COLUMNS, winners_in
from custodes.types import Floats, InputError, Ints

COMPARISONS: dict[str, tuple[str, ...]] = {"worker": WORKER} | PAIR_COLUMNS
TASK: dict[str, tuple[str, ...]] = {"task": ("task_id", "prompt", "question", "question_id")}


def fit_comparison_file(
    path: str | Path, method: AnnotatorMethod = "hierarchical", style: Sequence[str] = ()
) -> AnnotatorModel:
    """Fits the annotator model to a table of comparisons.

    Columns: worker (or annotator), left, right (as they were shown; left counts as first), label, the winner's name or
    empty for a tie, and if there is one task. ``style`` names measures to control for: each NAME stands in the columns
    left_NAME and right_NAME as a count (characters, headings ...), whose log1p is taken.

    An annotator has one vote on a task's pair. Without a column task, rows that repeat a pair are votes of their own where
    chance brings them: few items, compared again and again. They are repeats where an annotator has far more of them than
    chance brings, or the others have far fewer. Raises InputError naming file and row for a label that is neither of the
    two, for an item compared with itself and for a measure that is no count.
    """
    measures: dict[str, tuple[str, ...]] = {f"{side}_{name}": () for name in style for side in ("left", "right")}
    optional = frozenset({"label", "task"})
    columns = read_columns(path, COMPARISONS | measures, optional, alike=("left", "right", "label"), extra=TASK)
    left, right, label = winners_in(columns)
    both, items = numbered(pl.concat([left, right]))
    annotator, annotators = numbered(columns.frame["worker"])
    annotator = annotator.astype(np.int64)
    first, second = both[: len(left)].astype(np.int64), both[len(left) :].astype(np.int64)
    pair = np.minimum(first, second) * len(items) + np.maximum(first, second)
    task = numbered(columns.frame["task"])[0] if (columns.frame["task"] != "").any() else None
    kept = _first_votes(annotator, pair, task)
    strength = (label == left).to_numpy().astype(int) - (label == right).to_numpy().astype(int)
    measured = [_difference(columns, name) for name in style]
    data = Comparisons(
        first=first[kept],
        second=second[kept],
        annotator=annotator[kept],
        strength=strength[kept],
        length=np.zeros(int(kept.sum())),
        items=len(items),
        annotators=len(annotators),
        style=np.stack(measured, axis=1)[kept] if measured else np.zeros((int(kept.sum()), 0)),
    )
    names = tuple(f"row {n}" for n in columns.number[kept])
    model = fit_comparisons(
        data, tuple(annotators.to_list()), tuple(items.to_list()), names, method=method, style=tuple(style),
        repeats=int((~kept).sum()),
    )  # fmt: skip
    return replace(model, assumed=tuple(columns.notes), items_are_ranked=True)


def _first_votes(annotator: Ints, pair: Ints, task: Ints | None) -> NDArray[np.bool_]:
    """(N,) which rows count: the first of an annotator on each task's pair, see :func:`fit_comparison_file`."""
    frame = pl.DataFrame({"annotator": annotator, "pair": pair, "task": np.zeros(len(pair)) if task is None else task})
    first = frame.select(pl.struct("annotator", "pair", "task").is_first_distinct()).to_series().to_numpy()
    if task is not None:
        return np.asarray(first)
    total = np.bincount(annotator)
    repeats = total - np.bincount(annotator, first, minlength=len(total))
    count, alike = np.unique(np.unique(pair, return_counts=True)[1], return_counts=True)
    share = np.minimum(count / len(pair), 1 - 1e-12)
    chance = np.zeros(len(total))
    for n in np.unique(total):  # 1 - (1 - p)^n: whether n draws meet a pair of share p
        chance[total == n] = n + float(alike @ np.expm1(n * np.log1p(-share)))
    others = (
        repeats.sum() - repeats < (chance.sum() - chance) / 2
    )  # they do not meet pairs by chance: nor does this one
    suspect = others | (repeats > 2 * chance + 3 * np.sqrt(chance) + 1)
    return np.asarray(first | ~suspect[annotator])


def _difference(columns: Columns, name: str) -> Floats:
    """(N,) log1p of left_NAME minus that of right_NAME, in standard deviations."""
    sides = []
    for side in ("left", "right"):
        text = columns.frame[f"{side}_{name}"]
        value = text.cast(pl.Float64, strict=False)
        wrong = value.is_null() | ~(value >= 0) | value.is_infinite()
        if wrong.any():
            n = int(wrong.arg_max() or 0)
            raise InputError(
                f"{columns.place(n)}, column '{side}_{name}': {text[n]!r}; it should be a count, 0 or more."
            )
        sides.append(np.log1p(value.to_numpy()))
    difference = sides[0] - sides[1]
    unit = float(np.sqrt(np.mean(difference**2)))
    return difference / unit if unit > 0 else difference


def write_qualities(path: str | Path, standings: Sequence[Standing]) -> Path:
    """Writes ``item,group,quality,se,low,high,rank,rank_low,rank_high``. Raises InputError where that is impossible."""
    names = ("item", "group", "quality", "se", "low", "high", "rank", "rank_low", "rank_high")
    return write_columns(path, {name: [getattr(s, name) for s in standings] for name in names})
