"""Tables in files: rows of .jsonl, .jsonl.gz, .json and .parquet, and .csv where it is asked for, each with the place it came from."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from custodes.types import InputError

EXTENSIONS = (".jsonl", ".jsonl.gz", ".json", ".parquet")
WITH_CSV = (*EXTENSIONS, ".csv", ".csv.gz")
"""A CSV's values are all text: for tables that need nothing else."""


class Row(NamedTuple):
    """One row: ``number`` is the line of a JSONL file or the last line of a CSV's row, else the place in the list or table, from 1."""

    path: Path
    number: int
    values: dict[str, Any]  # columns that are null are left out

    @property
    def place(self) -> str:
        return f"{self.path}, row {self.number:,}"


def read_rows(path: str | Path, extensions: tuple[str, ...] = EXTENSIONS) -> list[Row]:
    """All rows of a file, or of the one such file in a folder; ``extensions`` are those that it may have.

    Raises InputError naming file and row when the file is missing, empty, of another kind, or a row is not JSON.
    """
    path = find_table(path, extensions)
    name = path.name.lower()
    read = _parquet if name.endswith(".parquet") else _csv if name.endswith((".csv", ".csv.gz")) else _json
    try:
        numbered = read(path)
    except (pa.ArrowException, gzip.BadGzipFile, zlib.error, EOFError, csv.Error) as error:
        raise InputError(f"{path} is damaged or not what its name says: {_first_line(error)}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start:,}); save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    if not numbered:
        raise InputError(f"{path} is empty; it should hold at least one row.")
    rows = []
    for number, values in numbered:
        if not isinstance(values, dict):
            raise InputError(
                f"{path}, row {number:,}: found {type(values).__name__}; it should be an object with named columns."
            )
        rows.append(Row(path, number, {name: value for name, value in values.items() if value is not None}))
    return rows


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows to ``path``, whose extension says how. Columns that a row lacks are null in parquet.

    Raises InputError for an extension that is not one of ``EXTENSIONS`` or a folder that does not exist.
    """
    path = Path(path)
    if not path.name.endswith(EXTENSIONS):
        raise InputError(f"{path}: unknown extension; use one of {', '.join(EXTENSIONS)}.")
    rows = list(rows)  # all of them, before anything that is there is overwritten
    try:
        if path.name.endswith(".parquet"):
            columns = dict.fromkeys(name for row in rows for name in row)
            pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in columns}), path)
        elif path.name.endswith(".json"):
            path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        else:
            with (
                gzip.open(path, "wt", encoding="utf-8")
                if path.suffix == ".gz"
                else path.open("w", encoding="utf-8") as file
            ):
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except pa.ArrowException as error:
        raise InputError(f"{path}: parquet cannot hold these rows ({_first_line(error)}); use .jsonl.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


def find_table(path: str | Path, extensions: tuple[str, ...] = EXTENSIONS) -> Path:
    """``path`` itself, or the one table in the folder ``path``. Raises InputError when there is not exactly one."""
    path = Path(path)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.name.lower().endswith(extensions) and p.is_file())
        if len(found) != 1:
            names = ", ".join(p.name for p in found[:5]) or "none"
            raise InputError(f"{path} is a folder with {len(found)} tables ({names}); name one file.")
        return found[0]
    if not path.exists():
        raise InputError(f"{path} does not exist; give a {', '.join(extensions)} file.")
    if not path.name.lower().endswith(extensions):
        raise InputError(f"{path}: unknown extension; give a {', '.join(extensions)} file.")
    return path


def _parquet(path: Path) -> list[tuple[int, Any]]:
    return list(enumerate(pq.read_table(path).to_pylist(), 1))


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8-sig")


def _csv(path: Path) -> list[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    rows = []
    for values in reader:
        if None in values:
            raise InputError(
                f"{path}, row {reader.line_num:,}: more fields than the header; quote fields that hold commas."
            )
        rows.append((reader.line_num, values))
    return rows


def _json(path: Path) -> list[tuple[int, Any]]:
    """JSON lines; or one JSON list, where a .json file starts with "["."""
    text = _text(path)
    if path.suffix.lower() == ".json" and text.lstrip().startswith("["):
        try:
            return list(enumerate(json.loads(text), 1))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {error.lineno:,}: not valid JSON ({error.msg}, {error.colno}).") from None
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append((number, json.loads(line)))
        except (json.JSONDecodeError, RecursionError) as error:
            why = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "too deep"
            raise InputError(
                f"{path}, row {number:,}: not valid JSON ({why}); every line must be one JSON object."
            ) from None
    return rows


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
