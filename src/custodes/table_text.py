"""The text of tables: encodings, separators, names of columns, and characters that are none."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from custodes.types import InputError

_MARKS = (  # the longer first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_NONE = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")


def decoded(path: Path, data: bytes, notes: list[str]) -> str:
    """The text of a file: UTF-8 with or without a mark, UTF-16 or UTF-32 with one. Raises UnicodeDecodeError."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:2]:  # one of the first two characters' halves: UTF-16 without its mark
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    if encoding is None:
        return data.decode("utf-8-sig")
    text = data.decode(encoding)
    notes.append(f"{path} was read as {encoding.upper()}.")
    return text


def separator_of(path: Path, text: str, notes: list[str]) -> tuple[str, str, int]:
    """(separator, text, lines left out before it): the separator by which the first rows have most columns alike."""
    if match := re.match(r'"?sep=(.)"?\r?\n', text):  # as spreadsheets write it
        return match[1], text[match.end() :], 1
    usual = "\t" if ".tsv" in path.name.lower() else ","
    sample = text[: 1 << 16]
    counts = {}
    for separator in dict.fromkeys((usual, *_SEPARATORS)):
        rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator) if row]
        rows = rows[:-1] if len(text) > len(sample) else rows  # the last may be cut
        width = len(rows[0]) if rows else 0
        alike = sum(len(row) == width for row in rows) / max(len(rows), 1)
        counts[separator] = (width > 1, alike > 0.5, width)
    best = max(counts, key=lambda separator: counts[separator])  # of equals the usual one
    if best != usual and counts[best][0]:
        notes.append(f"{path}: {_SEPARATORS[best]} separate its columns.")
        return best, text, 0
    return usual, text, 0


def folded(name: str) -> str:
    """A column's name without regard to case, blanks, "-" and "_"."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def known_names(
    path: Path, columns: Sequence[str], words: Mapping[str, Sequence[str]], notes: list[str]
) -> dict[str, str]:
    """Name of every column: the known one that it stands for, or its own without blanks at its ends; "" has none.

    ``words`` are the known names with other words for them; a word is taken where the name itself is not there, the
    first of them first. Raises InputError where two columns could be one.
    """
    named = {column: column.strip() for column in columns}
    for name, others in words.items():
        if name in columns:
            continue
        for word in (name, *others):
            same = [c for c in columns if folded(c) == folded(word) and c not in words]
            if len(same) > 1:
                raise InputError(f"{path}: the columns {same[0]!r} and {same[1]!r} could both be {name!r}; keep one.")
            if same:
                named[same[0]] = name
                break
    guessed = [f"{c.strip()!r} for {name}" for c, name in named.items() if name and folded(c) != folded(name)]
    if guessed:
        _once(notes, f"{path}: columns were taken by other names, {', '.join(guessed)}.")
    if any(not name for name in named.values()):
        _once(notes, f"{path}: a column without a name was left out.")
    return {} if all(c == name and name for c, name in named.items()) else named


def repaired(
    path: Path, rows: list[tuple[int, Any]], notes: list[str], text: str | None = None
) -> list[tuple[int, Any]]:
    """The rows with U+FFFD for what is no character: halves of surrogate pairs, and NUL, which databases refuse.

    ``text`` is the file's JSON, where it is known: without an escape or a NUL in it there is nothing to look for.
    """
    if text is not None and not _ESCAPED.search(text) and "\0" not in text:
        return rows
    mended, numbers = [], []
    for number, values in rows:
        changed: list[bool] = []
        mended.append((number, _mend(values, changed)))
        if changed:
            numbers.append(number)
    if not numbers:
        return rows
    shown = ", ".join(f"{n:,}" for n in numbers[:5]) + (", ..." if len(numbers) > 5 else "")
    which = f"row {shown}" if len(numbers) == 1 else f"{len(numbers):,} rows ({shown})"
    notes.append(f"{path}: {which} held half a character or NUL; each was read as U+FFFD.")
    return mended


def _mend(value: Any, changed: list[bool]) -> Any:
    if isinstance(value, str):
        if not value.isascii() or "\0" in value:
            mended = _NONE.sub("\ufffd", value)
            if mended != value:
                changed.append(True)
            return mended
        return value
    if isinstance(value, dict):
        return {_mend(k, changed): _mend(v, changed) for k, v in value.items()}
    if isinstance(value, list):
        return [_mend(v, changed) for v in value]
    return value


def _once(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def plain_value(value: Any) -> Any:
    """What Arrow knows and JSON does not, as text or number; numbers that are none are nothing."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {k: plain_value(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain_value(v) for v in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.isoformat() if isinstance(value, date | time) else value
