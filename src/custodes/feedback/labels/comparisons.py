"""Comparisons in files: ``worker,left,right,label`` in, the annotator model out; items with their quality to a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from custodes.columns import numbered, read_columns, write_columns
from custodes.feedback.annotator_model import AnnotatorModel, fit_comparisons
from custodes.feedback.bradley_terry import Comparisons
from custodes.feedback.labels.files import WORKER
from custodes.feedback.truths import WINNERS, winners_in

COMPARISONS = {"worker": WORKER} | WINNERS


def fit_comparison_file(path: str | Path) -> AnnotatorModel:
    """Fits the annotator model to a table of comparisons.

    Columns: worker (or annotator), left, right (as they were shown; left counts as first) and label, the winner's
    name or empty for a tie. Raises InputError naming file and row for a label that is neither of the two and for an
    item compared with itself.
    """
    columns = read_columns(path, COMPARISONS, optional=frozenset({"label"}), alike=("left", "right", "label"))
    left, right, label = winners_in(columns)
    both, items = numbered(pl.concat([left, right]))
    annotator, annotators = numbered(columns.frame["worker"])
    strength = (label == left).to_numpy().astype(int) - (label == right).to_numpy().astype(int)
    data = Comparisons(
        first=both[: len(left)].astype(np.int64),
        second=both[len(left) :].astype(np.int64),
        annotator=annotator.astype(np.int64),
        strength=strength,
        length=np.zeros(len(left)),
        items=len(items),
        annotators=len(annotators),
    )
    names = tuple(f"row {n}" for n in columns.number)
    return fit_comparisons(data, tuple(annotators.to_list()), tuple(items.to_list()), names)


def write_qualities(path: str | Path, model: AnnotatorModel) -> Path:
    """Writes ``item,quality,se``, the best first. Raises InputError where the file cannot be written."""
    order = np.argsort(-model.quality, kind="stable")
    columns = {
        "item": [model.episodes[i] for i in order],
        "quality": model.quality[order],
        "se": model.quality_se[order],
    }
    return write_columns(path, columns)
