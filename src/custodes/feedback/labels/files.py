"""Labels in files: ``task,worker,label`` in, ``task,label,probability`` out; and from judgments of the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from custodes.feedback.labels.aggregate import Aggregated
from custodes.feedback.labels.table import LabelTable, label_table, sorted_table
from custodes.types import InputError, Judgment, Label


def read_labels(path: str | Path) -> LabelTable:
    """Reads a .csv or .parquet file with the columns task, worker (or annotator) and label; values are text.

    Raises InputError naming the file and what is missing, or the first row with an empty value.
    """
    columns = read_columns(path, ("task", "worker", "label"))
    (t, tasks), (k, annotators) = numbered(columns["task"]), numbered(columns["worker"])
    classes = columns["label"].unique().sort()
    c = _numbers(columns["label"], classes)
    return sorted_table(t, k, c, tasks.to_list(), annotators.to_list(), classes.to_list())


def write_labels(path: str | Path, found: Aggregated) -> Path:
    """Writes ``task,label,probability`` in the order in which the tasks first appeared. Raises InputError."""
    path = Path(path)
    rows = np.arange(len(found.label))
    columns = {
        "task": list(found.table.tasks),
        "label": pl.Series(list(found.table.classes)).gather(found.label),
        "probability": found.probability[rows, found.label],
    }
    try:
        pl.DataFrame(columns).write_csv(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


def labels_from_judgments(judgments: Iterable[Judgment], name: str) -> LabelTable:
    """The labels named ``name`` among ``judgments``; a task is the episode that was labelled.

    Raises InputError when there is none.
    """
    rows = [(j.episodes[0], j.annotator, j.value) for j in judgments if isinstance(j, Label) and j.name == name]
    if not rows:
        raise InputError(f"no label named {name!r} among the judgments.")
    return label_table(*zip(*rows, strict=True))


# ---------------------------------------------------------------- columns of a table of judgments


def read_columns(path: str | Path, names: tuple[str, ...], optional: frozenset[str] = frozenset()) -> pl.DataFrame:
    """The columns ``names`` of a .csv or .parquet file as text; a column "annotator" stands in for "worker".

    Values in columns that are not ``optional`` may not be empty. Raises InputError naming file, row and column.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a .csv or .parquet file with the columns {','.join(names)}.")
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
        elif path.suffix in (".csv", ".tsv"):
            frame = pl.read_csv(path, infer_schema=False, separator="\t" if path.suffix == ".tsv" else ",")
        else:
            raise InputError(f"{path}: unknown extension; give .csv, .tsv or .parquet.")
    except pl.exceptions.NoDataError:
        raise InputError(f"{path} is empty; it should have the columns {','.join(names)}.") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        why = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(f"{path} cannot be read as a table: {why}.") from None
    if "worker" in names and "worker" not in frame.columns and "annotator" in frame.columns:
        frame = frame.rename({"annotator": "worker"})
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(
            f"{path}: column {missing[0]!r} is missing; found {', '.join(frame.columns[:8])}, expected {', '.join(names)}."
        )
    frame = frame.select(pl.col(name).cast(pl.String) for name in names)
    if not frame.height:
        raise InputError(f"{path} has a header and no rows; every row is one judgment.")
    for name in names:
        empty = frame[name].is_null() | (frame[name] == "")
        if name not in optional and empty.any():
            row = int(empty.arg_max() or 0)
            raise InputError(f"{path}, row {row + 2:,}, column {name!r}: empty; every judgment needs one.")
    return frame


def numbered(column: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Numbers (N,) by first appearance, and the names in that order."""
    names = column.unique(maintain_order=True)
    return _numbers(column, names), names


def _numbers(column: pl.Series, names: pl.Series) -> np.ndarray:
    index = pl.DataFrame({"name": names, "number": pl.Series(np.arange(len(names), dtype=np.int32))})
    joined = pl.DataFrame({"name": column}).join(index, on="name", how="left", maintain_order="left")
    return joined["number"].to_numpy()
