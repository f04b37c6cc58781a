"""Files hashed in blocks: what is edited later is then named by its lines, and a file that grows is hashed once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

HOLE = "hole in the record"
"""``Decision.what`` where something is there of which the ledger does not hold how it came about."""

TAKEN = "taken as found"
"""``Decision.what`` where a killed run goes on with what it had written after the last block that was recorded."""


LINES = frozenset((".jsonl", ".csv", ".tsv", ".txt", ".md", ".yaml", ".yml", ".py"))
"""Endings of files that are hashed by lines."""

BLOCK = 1 << 16
"""Bytes of a block, or a little more: the block of a file of lines ends with one."""

MOST_BLOCKS = 256
"""A file that is hashed at once has about so many blocks at most."""

MOST_FILES = 5000
"""Files of one folder that are hashed; a folder with more is no result of ours."""


class HashedBlock(NamedTuple):
    """The SHA-256 of a file's bytes from ``start`` up to ``end``, and its lines from 1 (0: it has none)."""

    sha256: str
    start: int
    end: int
    first_line: int = 0
    last_line: int = 0


def blocks_of(path: Path, start: int = 0, line: int = 0) -> list[HashedBlock]:
    """The file from byte ``start`` on, which is the beginning of line ``line`` + 1. Raises OSError."""
    by_lines = path.suffix in LINES
    size = max(BLOCK, path.stat().st_size // MOST_BLOCKS)
    blocks = []
    with path.open("rb") as file:
        file.seek(start)
        for sha256, lines in _pieces(file, size, by_lines):
            first, last = (line + 1, line + lines) if by_lines else (0, 0)
            blocks.append(HashedBlock(sha256, start, file.tell(), first, last))
            start, line = file.tell(), line + lines
    return blocks or [HashedBlock(hashlib.sha256().hexdigest(), start, start)]


def _pieces(file: BinaryIO, size: int, by_lines: bool) -> Iterator[tuple[str, int]]:
    """(hash, lines) of one piece after another; the file stands at the piece's end."""
    while data := file.read(BLOCK):
        found, lines, read = hashlib.sha256(data), data.count(b"\n"), len(data)
        while (read < size or not by_lines) and (more := file.read(BLOCK)):
            found.update(data := more)
            lines, read = lines + data.count(b"\n"), read + len(data)
        if by_lines and not data.endswith(b"\n"):
            found.update(file.readline())
            lines += 1
        yield found.hexdigest(), lines


def digest(path: Path, start: int, end: int) -> str:
    """SHA-256 of the bytes from ``start`` up to ``end``, or of what there is of them. Raises OSError."""
    found, left = hashlib.sha256(), end - start
    with path.open("rb") as file:
        file.seek(start)
        while left > 0 and (data := file.read(min(left, BLOCK))):
            found.update(data)
            left -= len(data)
    return found.hexdigest()


def files_in(path: Path) -> list[Path]:
    """The file, or the files of a folder that belong to its result: no ledger, lock, checkpoint, or half-written file."""
    if path.is_file():
        return [path]
    found: list[Path] = []
    for entry in sorted(path.iterdir()) if path.is_dir() else ():
        if entry.name.startswith((".", "ledger.db")) or entry.suffix == ".pyc":
            continue
        if entry.is_dir() and entry.name not in ("checkpoints", "__pycache__") and not entry.is_symlink():
            found += files_in(entry)
        elif entry.is_file():
            found.append(entry)
        if len(found) > MOST_FILES:
            break
    return found[:MOST_FILES]


def follows_sentence(path: Path, position: Mapping[str, Any]) -> str:
    return f"checkpoint {path} follows row {int(position['row']):,} ({str(position['hash'])[:12]}), which the ledger does not hold"
