"""Labels in files: ``task,worker,label`` in, ``task,label,probability`` out; and from judgments of the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from custodes.columns import numbered, numbers_of, read_columns, write_columns
from custodes.feedback.kinds.label import Label
from custodes.feedback.labels.aggregate import Aggregated, same_class
from custodes.feedback.labels.table import LabelTable, label_table, sorted_table
from custodes.tables import warn
from custodes.types import InputError, Judgment

WORKER = ("annotator", "worker_id", "annotator_id", "rater", "labeler", "user")
LABELS = {"task": ("task_id", "item", "item_id"), "worker": WORKER, "label": ("class", "answer")}


def read_labels(path: str | Path) -> LabelTable:
    """Reads a table with the columns task, worker (or annotator) and label; values are text.

    Classes that differ in case or blanks only are one. What was assumed is in ``notes``. Raises InputError naming the
    file and what is missing, or the first row with an empty value.
    """
    columns = read_columns(path, LABELS)
    (t, tasks), (k, annotators) = numbered(columns.frame["task"]), numbered(columns.frame["worker"])
    label = _one_spelling(columns.frame["label"], str(path), columns.notes)
    classes = label.unique().sort()
    c = numbers_of(label, classes)
    table = sorted_table(t, k, c, tasks.to_list(), annotators.to_list(), classes.to_list())
    return replace(table, notes=(*columns.notes, *table.notes))


def _one_spelling(label: pl.Series, where: str, notes: list[str]) -> pl.Series:
    """The classes with one spelling, the most frequent, for all that differ in case and blanks only; notes say which."""
    counts = label.value_counts(sort=True, name="n")
    same: dict[str, list[str]] = {}
    for name in counts[label.name].to_list():
        same.setdefault(same_class(name), []).append(name)
    other = {name: names[0] for names in same.values() for name in names[1:]}
    if not other:
        return label
    shown = [f"{name!r} as {kept!r}" for name, kept in list(other.items())[:3]] + ["..."] * (len(other) > 3)
    note = f"{where}: classes that differ in case or blanks only were read as one ({', '.join(shown)})."
    notes.append(note)
    warn([note])
    return label.replace(other)


def write_labels(path: str | Path, found: Aggregated) -> Path:
    """Writes ``task,label,probability`` in the order in which the tasks first appeared. Raises InputError."""
    rows = np.arange(len(found.label))
    columns = {
        "task": list(found.table.tasks),
        "label": pl.Series(list(found.table.classes)).gather(found.label),
        "probability": found.probability[rows, found.label],
    }
    return write_columns(path, columns)


def write_probabilities(path: str | Path, found: Aggregated) -> Path:
    """Writes the probability of every class: ``task`` and a column for each class. Raises InputError."""
    classes = {str(name): found.probability[:, c] for c, name in enumerate(found.table.classes)}
    name = next(n for n in ("task", "task_id", "the task") if n not in classes)
    return write_columns(path, {name: list(found.table.tasks)} | classes)


def write_confusion(path: str | Path, found: Aggregated) -> Path:
    """Writes ``annotator,truth,label,count,share``: how often each annotator said ``label`` where ``truth`` was likely.

    ``count`` is the expected number, ``share`` its share of all that the annotator said of that truth; combinations that
    never came are left out. Raises InputError.
    """
    table = found.table
    K, C = len(table.annotators), len(table.classes)
    count = np.asarray(table.matrix.T @ found.probability).reshape(K, C, C).transpose(0, 2, 1)  # [k, true, said]
    k, true, said = np.nonzero(count > 1e-6)
    names = pl.Series(list(table.classes))
    return write_columns(
        path,
        {
            "annotator": pl.Series(list(table.annotators)).gather(k),
            "truth": names.gather(true),
            "label": names.gather(said),
            "count": count[k, true, said],
            "share": count[k, true, said] / count.sum(axis=2)[k, true],
        },
    )


def labels_from_judgments(judgments: Iterable[Judgment], name: str) -> LabelTable:
    """The labels named ``name`` among ``judgments``; a task is the episode that was labelled.

    Raises InputError when there is none.
    """
    rows = [(j.episodes[0], j.annotator, j.value) for j in judgments if isinstance(j, Label) and j.name == name]
    if not rows:
        raise InputError(f"no label named {name!r} among the judgments.")
    return label_table(*zip(*rows, strict=True))
