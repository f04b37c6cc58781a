"""Columns of a table as text: for tables of a million short rows, where a row is not worth an object of its own."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from custodes.table_sources import arrow_of, bytes_of, is_hub, reading, table_files, table_kind
from custodes.table_text import decoded, folded, known_names, separator_of
from custodes.tables import as_id, csv_records, read_rows, warn, write_arrow, writing
from custodes.types import InputError


@dataclass(frozen=True, eq=False)
class Columns:
    """N rows: ``frame`` has the columns that were asked for, all text; ``notes`` say what was assumed."""

    frame: pl.DataFrame
    file: Sequence[Path]  # (F,) shards
    first: Sequence[int]  # (F,) place in ``frame`` of each one's first row
    number: np.ndarray  # (N,) as in ``tables.TableRow``
    notes: list[str]

    def place(self, n: int) -> str:
        """File and row of place ``n`` in the frame."""
        file = self.file[int(np.searchsorted(self.first, n, side="right")) - 1]
        return f"{file}, row {self.number[n]:,}"


def read_columns(
    path: str | Path,
    names: Mapping[str, Iterable[str]],
    optional: frozenset[str] = frozenset(),
    alike: Sequence[str] = (),
    extra: Mapping[str, Iterable[str]] | None = None,
) -> Columns:
    """The columns ``names`` (in this order, each with other words for it) of any table that ``tables`` reads, as text.

    Blanks at a value's ends are left out, and 1 and 1.0 are one value. Columns that are ``optional`` may have
    empty values. Columns that are ``alike`` hold names of the same things. Those
    in ``extra`` are read where a file has them, and empty where it has not. A CSV whose first row is data has no
    header: its columns are taken by position, which is said. Raises InputError naming file, row and column.
    """
    words = {name: tuple(others) for name, others in names.items()}
    notes: list[str] = []
    parts = []
    for file in [Path(path)] if is_hub(path) else table_files(path):
        frame, number, header = _part(file, words, notes)
        missing = [name for name in words if name not in frame.columns]
        if missing:
            also = f" ({missing[0]} may also be {', '.join(words[missing[0]])})" if words[missing[0]] else ""
            raise InputError(
                f"{file}: column {missing[0]!r} is missing; found {', '.join(header[:8])}, expected "
                f"{', '.join(words)}{also}."
            )
        if not len(number):
            raise InputError(f"{file} has a header and no rows; every row is one judgment.")
        others = {name: tuple(same) for name, same in (extra or {}).items()}
        there = {folded(name) for name in header}
        others = {name: same for name, same in others.items() if there & {folded(word) for word in (name, *same)}}
        if others:
            frame, number, _ = _part(file, words | others, [])
        absent = pl.Series([""] * len(number), dtype=pl.String)
        columns = [
            _text(frame[name], file, number) if name in frame.columns else absent.alias(name)
            for name in (*words, *(extra or ()))
        ]
        parts.append((file, pl.DataFrame(columns), number))
    first = np.concatenate([[0], np.cumsum([len(number) for _, _, number in parts])[:-1]])
    frame = _same_numbers(
        pl.concat([frame for _, frame, _ in parts]), [list(alike), *([n] for n in words if n not in alike)]
    )
    found = Columns(
        frame, [file for file, _, _ in parts], first.tolist(), np.concatenate([n for *_, n in parts]), notes
    )
    for name in words:
        empty = frame[name] == ""
        if name not in optional and empty.any():
            n, how_many = int(empty.arg_max() or 0), int(empty.sum())
            more = f" and in {how_many - 1:,} more" if how_many > 1 else ""
            raise InputError(f"{found.place(n)}, column {name!r}: empty{more}; every judgment needs one.")
    warn(notes)
    return found


def write_columns(path: str | Path, columns: Mapping[str, Any]) -> Path:
    """Writes columns to .csv, .tsv, .parquet or .arrow, plain or packed; the file appears when it is whole.

    Raises InputError for another extension and where the file cannot be written.
    """
    frame = pl.DataFrame(columns)
    with writing(path) as (out, kind):
        if kind in (".csv", ".tsv"):
            frame.write_csv(out, separator="\t" if kind == ".tsv" else ",")
        elif kind in (".parquet", ".arrow"):
            write_arrow(out, frame.to_arrow(), kind)
        else:
            raise InputError(f"{path}: this is written as .csv, .tsv or .parquet, plain or as .gz or .zst.")
    return Path(path)


def numbered(column: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Numbers (N,) by first appearance, and the names in that order."""
    names = column.unique(maintain_order=True)
    return numbers_of(column, names), names


def numbers_of(column: pl.Series, names: pl.Series) -> np.ndarray:
    """(N,) the place of every value of ``column`` in ``names``, which has each once."""
    index = pl.DataFrame({"name": names, "number": pl.Series(np.arange(len(names), dtype=np.int32))})
    joined = pl.DataFrame({"name": column}).join(index, on="name", how="left", maintain_order="left")
    return joined["number"].to_numpy()


_Part = tuple[pl.DataFrame, np.ndarray, list[str]]


def _part(path: Path, words: Mapping[str, tuple[str, ...]], notes: list[str]) -> _Part:
    """The known columns of one file as they are, the numbers of its rows, and the names of all columns."""
    kind = "" if is_hub(path) else table_kind(path)[0]
    if kind in (".csv", ".tsv"):
        part: _Part = reading(path, lambda: _csv(path, words, notes))
        return part
    if kind in (".parquet", ".arrow"):
        table = reading(path, lambda: arrow_of(path))
        named = known_names(path, table.column_names, words, notes)
        table = table.rename_columns([named.get(c, c) for c in table.column_names])
        kept = [c for c in table.column_names if c in words]
        frame = cast(pl.DataFrame, pl.from_arrow(table.select(kept)))
        return frame, np.arange(1, table.num_rows + 1), table.column_names
    rows = read_rows(path, words)
    notes += [note for note in rows.notes if note not in notes]
    header = list(dict.fromkeys(name for row in rows for name in row.values))
    columns = [pl.Series(c, [row.values.get(c) for row in rows], dtype=pl.Object) for c in header if c in words]
    return pl.DataFrame(columns), np.array([row.number for row in rows]), header


def _csv(path: Path, words: Mapping[str, tuple[str, ...]], notes: list[str]) -> _Part:
    text = decoded(path, bytes_of(path), notes)
    if not text.strip():
        raise InputError(f"{path} is empty; it should have the columns {','.join(words)}.")
    if '"' in text or "\0" in text or "\r" in text.replace("\r\n", "") or not text.split("\n", 1)[0].strip():
        header, records = csv_records(path, text, notes)
        columns = list(zip(*((*r, *[""] * (len(header) - len(r))) for _, r in records), strict=True))
        frame = pl.DataFrame([pl.Series(str(i), c, dtype=pl.String) for i, c in enumerate(columns)])
        number = np.array([n for n, _ in records], np.int64)
    else:  # nothing is quoted: every line is a row, which polars reads many times faster
        separator, rest, skipped = separator_of(path, text, notes)
        header = rest.split("\n", 1)[0].rstrip("\r").split(separator)
        try:
            body = rest.split("\n", 1)[1].encode() if "\n" in rest else b""
            schema = {str(i): pl.String for i in range(len(header))}
            frame = pl.read_csv(io.BytesIO(body), has_header=False, schema=schema, separator=separator, quote_char=None)
        except pl.exceptions.NoDataError:
            frame = pl.DataFrame(schema={str(i): pl.String for i in range(len(header))})
        except pl.exceptions.PolarsError:
            csv_records(path, text, [])  # names the row
            raise
        number = np.arange(2, frame.height + 2) + skipped
        held = frame.select(pl.any_horizontal(pl.all().is_not_null() & (pl.all() != ""))).to_series()
        if not held.all():
            frame, number = frame.filter(held), number[held.to_numpy()]
    if _is_data(header, frame, words):
        notes.append(f"{path} has no header; its columns were taken as {', '.join(words)}, in this order.")
        first = pl.DataFrame({str(i): [name] for i, name in enumerate(header)}, schema=frame.schema)
        frame, number, header = pl.concat([first, frame]), np.append(1 + skipped, number), list(words)
    named = known_names(path, header, words, notes)
    names = [named.get(name, name) for name in header]
    kept = [pl.col(str(i)).alias(name) for i, name in enumerate(names) if name in words]
    return frame.select(kept), number, names


def _is_data(header: list[str], frame: pl.DataFrame, words: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the first row is none of names: as many as are wanted, none known, and one stands again in its column."""
    known = {folded(word) for name, others in words.items() for word in (name, *others)}
    if len(header) != len(words) or any(folded(name) in known for name in header):
        return False
    return any(name.strip() and (frame[str(i)] == name).any() for i, name in enumerate(header))


def _text(column: pl.Series, path: Path, number: np.ndarray) -> pl.Series:
    """A column as text without blanks at its values' ends; what is missing is empty."""
    if column.dtype == pl.Object or column.dtype.is_nested():
        values: list[Any] = column.to_list()
        for n, value in zip(number, values, strict=True):
            if isinstance(value, list | dict | tuple):
                raise InputError(
                    f"{path}, row {n:,}, column {column.name!r}: {str(value)[:40]} is not one value; give one in each row."
                )
        return pl.Series(column.name, ["" if v is None else as_id(v) for v in values], dtype=pl.String)
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype == pl.Boolean:
        column = column.replace_strict({True: "true", False: "false"}, return_dtype=pl.String)
    return column.cast(pl.String).fill_null("").str.strip_chars()


def _same_numbers(frame: pl.DataFrame, groups: Iterable[list[str]]) -> pl.DataFrame:
    """1.0 as 1 in the columns of a group whose every value is a number."""
    for group in (g for g in groups if g):
        texts = pl.concat([frame[name].rename("value") for name in group])
        whole = r"\.0+$"
        if texts.str.contains(whole).any() and texts.str.contains(r"^$|^[+-]?\d+(\.\d+)?$").all():
            frame = frame.with_columns(pl.col(name).str.replace(whole, "") for name in group)
    return frame
