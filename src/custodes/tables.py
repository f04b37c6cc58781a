"""Tables of people's files: one reader and one writer for rows of JSONL, JSON, CSV, TSV, parquet and Arrow.

Each may be packed as .gz or .zst; a folder of shards is one table, and so is a dataset of the hub. What a reader must
assume (an encoding, a separator, a name) is said in ``notes`` and as a warning, one sentence each.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from custodes.files import written_whole
from custodes.table_sources import (
    arrow_of,
    bytes_of,
    first_line,
    hub_id,
    hub_rows,
    is_hub,
    reading,
    shard_of,
    table_files,
    table_kind,
)
from custodes.table_text import decoded, known_names, plain_value, repaired, separator_of
from custodes.types import InputError

_YES, _NO = {"true", "1", "1.0", "yes"}, {"false", "0", "0.0", "no"}


def _short(value: Any) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class TableRow(NamedTuple):
    """One row: ``number`` is the line of a JSONL file or the last line of a CSV's row, else the place in the list or table, from 1."""

    path: Path
    number: int
    values: dict[str, Any]  # columns that are null are left out; a CSV's values are all text

    @property
    def place(self) -> str:
        return f"{self.path}, row {self.number:,}"

    def texts(self, column: str) -> list[str]:
        """A column that holds one text or a list of texts; none where it is not there. Raises InputError for anything else."""
        given = self.values.get(column)
        listed = [given] if isinstance(given, str) and given else given or []
        if not isinstance(listed, (list, tuple)) or not all(isinstance(text, str) for text in listed):
            raise InputError(f"{self.place}: {column} is {_short(given)}; it must be a text or a list of texts.")
        return list(listed)

    def flag(self, column: str) -> bool:
        """A column that says yes or no: true or false, 1 or 0, in any spelling. Raises InputError for anything else."""
        given = self.values.get(column)
        said = str(given).strip().lower()
        if said not in _YES | _NO:
            raise InputError(f"{self.place}: {column} is {_short(given)}; it must be true or false, or 1 or 0.")
        return said in _YES


class TableRows(list[TableRow]):
    """The rows of a table, and in ``notes`` what was assumed in reading it, one sentence each."""

    def __init__(self, rows: Iterable[TableRow] = (), notes: Iterable[str] = ()) -> None:
        super().__init__(rows)
        self.notes = list(notes)  # after ``rows``, which may add to them


def read_rows(path: str | Path, names: Mapping[str, Iterable[str]] | Iterable[str] = ()) -> TableRows:
    """All rows of a file, of a folder with one file or one set of shards, or of a dataset of the hub.

    A hub id is "owner/name", "owner/name:SPLIT" or "owner/name:CONFIGURATION:SPLIT"; a path that exists comes first.
    ``names`` are the columns that the caller knows, with or without other words for them: they are found without regard
    to case, blanks, "-" and "_". Raises InputError naming file and row when a file is missing, empty, of another kind,
    damaged, or a row is not an object.
    """
    notes: list[str] = []
    found = list(_rows(path, notes))
    if not found:
        raise InputError(f"{path} is empty; it should hold at least one row.")
    rows = TableRows((TableRow(*row) for row in _renamed(found, _words_of(names), notes)), notes)
    warn(notes)
    return rows


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows to ``path``, whose extension says how. Columns that a row lacks are null, in CSV empty.

    The file appears when it is whole, so it may be one that ``rows`` are read from. Raises InputError for an unknown
    extension, a folder that does not exist, or values that this kind of file cannot hold.
    """
    with writing(path) as (out, kind):
        _WRITERS[kind](out, list(rows))
    return Path(path)


@contextmanager
def writing(path: str | Path) -> Iterator[tuple[Any, str]]:
    """(what takes bytes and packs them, the kind of table) for a table that appears at ``path`` when it is whole."""
    kind, packed = table_kind(path)
    try:
        with written_whole(path) as file, _packing(file, packed) as out:
            yield out, kind
    except InputError:
        raise
    except (pa.ArrowException, TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        name = kind.removeprefix(".")
        raise InputError(f"{path}: {name} cannot hold these rows ({first_line(error)}); use .jsonl.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from None


def hash_table(path: str | Path) -> str:
    """SHA-256 of a table: of its file's bytes, of its shards' one after the other, of a hub dataset's rows as JSON."""
    digest = hashlib.sha256()
    if is_hub(path):
        for _, _, values in hub_rows(*hub_id(str(path)), []):
            digest.update(json.dumps(values, sort_keys=True, default=str).encode())
        return digest.hexdigest()
    for file in table_files(path):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def as_id(value: Any) -> str:
    """A name as text: 1, 1.0 and "1" are one name, and blanks at its ends are none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def warn(notes: Iterable[str]) -> None:
    """Says what was assumed; the command line prints a warning as a note and puts it into its JSON."""
    for note in notes:
        warnings.warn(note, stacklevel=3)


# ---------------------------------------------------------------- files to rows

Values = dict[str, Any]
Numbered = tuple[Path, int, Values]


def _rows(path: str | Path, notes: list[str]) -> Iterator[Numbered]:
    if is_hub(path):
        yield from hub_rows(*hub_id(str(path)), notes)
        return
    files = table_files(path)
    if len(files) == 1 and Path(path) == files[0] and (shard := shard_of(files[0])) and int(shard["of"]) > 1:
        notes.append(f"{path} is one of {int(shard['of'])} shards; the folder in its place reads all.")
    for file in files:
        kind, _ = table_kind(file)
        for number, values in reading(file, partial(_READERS[kind], file, notes=notes)):
            if not isinstance(values, dict):
                found = type(values).__name__
                raise InputError(f"{file}, row {number:,}: found {found}; it should be an object with named columns.")
            yield file, number, {name: value for name, value in values.items() if value is not None}


def _read_arrow(path: Path, notes: list[str]) -> Iterable[tuple[int, Any]]:
    rows = ({k: plain_value(v) for k, v in row.items()} for row in arrow_of(path).to_pylist())
    return repaired(path, list(enumerate(rows, 1)), notes)


def _read_csv(path: Path, notes: list[str]) -> Iterable[tuple[int, Any]]:
    header, records = csv_records(path, decoded(path, bytes_of(path), notes), notes)
    return repaired(path, [(n, dict(zip(header, record, strict=False))) for n, record in records], notes)


def csv_records(path: Path, text: str, notes: list[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header of a CSV, and (last line of the record, fields) of all others that are not blank."""
    separator, text, skipped = separator_of(path, text, notes)
    csv.field_size_limit(2**31 - 1)  # an answer may be longer than the 131,072 characters that Python allows at first
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = next((record for record in reader if any(field.strip() for field in record)), [])
    twice = [name for name, n in Counter(name.strip() for name in header).items() if n > 1 and name]
    if twice:
        raise InputError(
            f"{path}, row {reader.line_num + skipped:,}: the column {twice[0]!r} stands there twice; keep one."
        )
    records = []
    for record in reader:
        if len(record) > len(header) and any(field.strip() for field in record[len(header) :]):
            what = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}[separator]
            raise InputError(
                f"{path}, row {reader.line_num + skipped:,}: more fields than the header; quote fields that hold {what}."
            )
        if any(field.strip() for field in record):
            records.append((reader.line_num + skipped, record[: len(header)]))
    return header, records


def _read_json(path: Path, notes: list[str]) -> Iterable[tuple[int, Any]]:
    """JSON lines; or one JSON list, or one object of columns."""
    text = decoded(path, bytes_of(path), notes)
    start = text.lstrip()[:1]
    if start == "[":
        return repaired(path, list(enumerate(_json(path, text, 0), 1)), notes, text)
    if start == "{" and table_kind(path)[0] == ".json":
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError):
            whole = None  # lines
        if whole is not None:
            return repaired(path, _of_object(path, _json(path, text, 0), notes), notes, text)
    lines = ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip())
    return repaired(path, [(n, _json(path, line, n)) for n, line in lines], notes, text)


def _json(path: Path, text: str, number: int) -> Any:
    """One JSON value; ``number`` is the row that it is, 0 for a whole file."""
    where = f"{path}, row {number:,}" if number else f"{path}"

    def once(pairs: list[tuple[str, Any]]) -> Values:
        values = dict(pairs)
        if len(values) < len(pairs):
            twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
            place = where if number else f"{where}, {_shorten(pairs)}"
            raise InputError(f"{place}, field {twice!r}: it stands twice in one object; keep one of the two.")
        return values

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        if number:
            why = f"{error.msg}, column {error.colno}"
            raise InputError(f"{where}: not valid JSON ({why}); every line must be one JSON object.") from None
        raise InputError(f"{path}, line {error.lineno:,}: not valid JSON ({error.msg}, {error.colno}).") from None
    except RecursionError:
        raise InputError(f"{where}: not valid JSON (too deep); every line must be one JSON object.") from None


def _shorten(pairs: list[tuple[str, Any]]) -> str:
    text = json.dumps(dict(pairs), ensure_ascii=True, default=str)
    return f"the object {text[:60]}{'...' if len(text) > 60 else ''}"


def _of_object(path: Path, held: Values, notes: list[str]) -> list[tuple[int, Any]]:
    """The rows of one JSON object: its columns, a list of rows under one name, or itself."""
    values = list(held.values())
    listed = [list(v.values()) if _is_column(v) else v for v in values]
    lists = bool(listed) and all(isinstance(v, list) for v in listed)
    if (
        len(values) == 1
        and lists
        and listed[0]
        and all(isinstance(row, dict) and "role" not in row for row in listed[0])
    ):
        notes.append(f"{path}: the rows were taken from the list {next(iter(held))!r}.")
        return list(enumerate(listed[0], 1))
    if lists and not any(isinstance(v[0], dict) and "role" in v[0] for v in listed if v):
        lengths = {name: len(v) for name, v in zip(held, listed, strict=True)}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {n:,}" for name, n in list(lengths.items())[:5])
            raise InputError(
                f"{path}: its columns differ in length ({told}); every column needs one value for each row."
            )
        notes.append(f"{path} holds columns; each place in them was read as one row.")
        return [(n, dict(zip(held, row, strict=True))) for n, row in enumerate(zip(*listed, strict=True), 1)]
    return [(1, held)]


def _is_column(value: Any) -> bool:
    """Whether this is a column as pandas writes it: {"0": ..., "1": ...}."""
    return isinstance(value, dict) and bool(value) and list(value) == [str(n) for n in range(len(value))]


_READERS: Mapping[str, Callable[..., Iterable[tuple[int, Any]]]] = {
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_arrow,
    ".arrow": _read_arrow,
}


# ---------------------------------------------------------------- names of columns


def _words_of(names: Mapping[str, Iterable[str]] | Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(names[name]) if isinstance(names, Mapping) else () for name in names}


def _renamed(rows: list[Numbered], words: dict[str, tuple[str, ...]], notes: list[str]) -> Iterator[Numbered]:
    """The rows with known columns under their names; nameless columns are left out."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for path, number, values in rows:
        columns = tuple(values)
        if columns not in found:
            found[columns] = known_names(path, columns, words, notes)
        named = found[columns]
        yield path, number, {named[c]: v for c, v in values.items() if named[c]} if named else values


# ---------------------------------------------------------------- rows to files


@contextmanager
def _packing(file: IO[bytes], packed: str) -> Iterator[IO[bytes]]:
    """What packs everything that is written to it into ``file``."""
    if not packed:
        yield file
        return
    held = io.BytesIO()
    yield held
    if packed == ".gz":
        file.write(gzip.compress(held.getbuffer(), mtime=0))
    else:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(held.getbuffer())
        file.write(sink.getvalue())


def _columns_of(rows: list[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _write_lines(out: Any, rows: list[Mapping[str, Any]]) -> None:
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _write_json(out: Any, rows: list[Mapping[str, Any]]) -> None:
    out.write((json.dumps(rows, ensure_ascii=False, indent=1) + "\n").encode())


def _write_csv(out: Any, rows: list[Mapping[str, Any]], separator: str = ",") -> None:
    text, names = io.StringIO(newline=""), _columns_of(rows)
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(names)
    for n, row in enumerate(rows, 1):
        for name, value in row.items():
            if isinstance(value, dict | list | tuple):
                raise ValueError(f"row {n:,}, {name!r} is not one text or number")
        writer.writerow("" if row.get(name) is None else row[name] for name in names)
    out.write(text.getvalue().encode())


def _write_arrow(out: Any, rows: list[Mapping[str, Any]], kind: str) -> None:
    write_arrow(out, pa.table({name: [row.get(name) for row in rows] for name in _columns_of(rows)}), kind)


def write_arrow(out: Any, table: pa.Table, kind: str) -> None:
    """The table as a .parquet or .arrow file."""
    sink = pa.BufferOutputStream()
    if kind == ".arrow":
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, sink)
    out.write(sink.getvalue())


_WRITERS: Mapping[str, Callable[[Any, list[Mapping[str, Any]]], None]] = {
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
    ".json": _write_json,
    ".csv": _write_csv,
    ".tsv": partial(_write_csv, separator="\t"),
    ".parquet": partial(_write_arrow, kind=".parquet"),
    ".arrow": partial(_write_arrow, kind=".arrow"),
}
