"""The chain of hashes: each row's hash covers the row and the hash of the row before.

Whoever edits, removes, inserts or reorders a row must rewrite every later hash and the head. Who does all
that is found out only by a hash kept elsewhere (:mod:`custodes.ledger.heads`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

GENESIS = "0" * 64
"""What the first row names as the hash before it."""


class ChainRow(NamedTuple):
    """One row of the log; see ``schema.log``."""

    seq: int
    at: str
    run: str
    kind: str
    key: str
    body: str
    supersedes: int | None
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether history stands as it was written; ``problem`` names the first row where it does not."""

    ok: bool
    rows: int  # rows that were checked and found good
    problem: str | None = None
    head: str = GENESIS  # hash of the last good row


def hash_row(seq: int, at: str, run: str, kind: str, key: str, body: str, supersedes: int | None, previous: str) -> str:
    """SHA-256, hexadecimal, of the columns joined by line feeds, in UTF-8; nothing stands for no ``supersedes``.

    No column that the ledger writes holds a line feed (ids are one line, JSON escapes it), so no two rows join
    to the same text.
    """
    replaced = "" if supersedes is None else supersedes
    return hashlib.sha256(f"{seq}\n{at}\n{run}\n{kind}\n{key}\n{body}\n{replaced}\n{previous}".encode()).hexdigest()


def verify_chain(rows: Iterable[ChainRow], head: tuple[int, str] | None) -> Verification:
    """Check ``rows`` (ordered by seq) against their hashes and against ``head`` (count, last hash)."""
    before, last = None, None  # the two rows that came before
    count, tip = 0, GENESIS
    for row in rows:
        problem = _problem(row, count + 1, tip, last, before, head)
        if problem:
            return Verification(False, count, problem, tip)
        before, last = last, row
        count, tip = count + 1, row.hash
    return Verification(not (problem := _head_problem(count, tip, last, head)), count, problem, tip)


def _problem(
    row: ChainRow, place: int, tip: str, last: ChainRow | None, before: ChainRow | None, head: tuple[int, str] | None
) -> str | None:
    """What is wrong with ``row``, which should be number ``place`` and follow the hash ``tip``."""
    if row.seq != place:
        if row.seq < place:
            return f"{_name(row)} stands twice, or before the first place."
        return f"row {place} is missing: after {_name(last)} comes {_name(row)}."
    intact = _intact(row, place)
    if intact and row.previous == tip:
        return None
    if last and row.previous == (before.hash if before else GENESIS) and (intact or _intact(row, place - 1)):
        return f"{_name(last)} was inserted: {_name(row)} does not follow it but the row before it."
    if intact:
        return f"{_name(row)} does not follow {_name(last)}: a row was removed, inserted or exchanged between them."
    longest = max(place, head[0] if head else 0) + 1000
    origin = next((seq for seq in range(1, longest) if _intact(row, seq)), None)
    if origin:
        return f"{_name(row)} was moved: it was written as row {origin}, so rows were removed, inserted or reordered."
    return f"{_name(row)} was edited or inserted: its contents do not give its hash."


def _head_problem(count: int, tip: str, last: ChainRow | None, head: tuple[int, str] | None) -> str | None:
    if head is None:
        return "the head row is missing, so whether the last rows were removed cannot be told."
    if count < head[0]:
        return f"the last {head[0] - count} of {head[0]} rows are missing: nothing comes after {_name(last)}."
    if count > head[0]:
        return f"{count - head[0]} rows were added after row {head[0]} past the ledger; the last is {_name(last)}."
    if tip != head[1]:
        return f"{_name(last)} is not the last row that the ledger wrote: the head holds another hash."
    return None


def _intact(row: ChainRow, seq: int) -> bool:
    """Whether ``row`` gives its own hash when it stands at ``seq``."""
    return hash_row(seq, *row[1:8]) == row.hash


def _name(row: ChainRow | None) -> str:
    return f"row {row.seq} ({row.kind} {row.key!r})" if row else "the beginning"
