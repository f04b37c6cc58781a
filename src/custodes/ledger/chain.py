"""The chain of hashes: each row's hash covers the row and the hash of the row before.

Whoever edits, removes, inserts or reorders a row must rewrite every later hash and the head. Who does all
that is found out only by a hash kept elsewhere (:mod:`custodes.ledger.heads`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from custodes.ledger.sealing import hashed_body, is_of_first_format, shown_path, unsealed, withdrawn_of

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

    The digest of its fields stands for a sealed body (:mod:`custodes.ledger.sealing`). No column that the ledger writes
    holds a line feed (ids are one line, JSON escapes it), so no two rows join to the same text. Raises ValueError
    where the seal does not fit the body.
    """
    return _joined_hash(seq, at, run, kind, key, hashed_body(body), supersedes, previous)


def _joined_hash(*columns: Any) -> str:
    return hashlib.sha256("\n".join("" if c is None else str(c) for c in columns).encode()).hexdigest()


def verify_chain(
    rows: Iterable[ChainRow], head: tuple[int, str] | None, withheld: Mapping[int, Iterable[str]] | None = None
) -> Verification:
    """Check ``rows`` (ordered by seq) against their hashes and against ``head`` (count, last hash).

    What is missing from a body must be named by a later row of kind ``redaction``, or by ``withheld``: row -> fields.
    """
    before, last = None, None  # the two rows that came before
    count, tip = 0, GENESIS
    gaps = _Gaps({seq: set(fields) for seq, fields in (withheld or {}).items()})
    for row in rows:
        problem = _problem(row, count + 1, tip, last, before, head)
        if problem:
            return Verification(False, count, problem, tip)
        gaps.see(row)
        before, last = last, row
        count, tip = count + 1, row.hash
    problem = _head_problem(count, tip, last, head) or gaps.problem()
    return Verification(not problem, count, problem, tip)


@dataclass
class _Gaps:
    """What is missing from bodies, and what later rows say of it."""

    told: dict[int, set[str]]  # row -> the fields that are said to be missing
    missing: dict[int, tuple[str, set[str]]] = field(default_factory=dict)  # row -> its name, the fields
    left: dict[int, str] = field(default_factory=dict)  # row of format 0001 -> digest of what is left of it
    told_left: dict[int, str] = field(default_factory=dict)

    def see(self, row: ChainRow) -> None:
        if gone := withdrawn_of(row.body):
            self.missing[row.seq] = _name(row), {shown_path(path) for path in gone}
            if is_of_first_format(row.body):
                self.left[row.seq] = digest_of_left(row)
        if row.kind == "redaction":
            body = unsealed(row.body)
            for seq, fields in body["withdrawn"].items():
                self.told.setdefault(int(seq), set()).update(fields)
            self.told_left |= {int(seq): digest for seq, digest in body["left"].items()}

    def problem(self) -> str | None:
        for seq, (name, fields) in self.missing.items():
            if unknown := sorted(fields - self.told.get(seq, set())):
                return f"{name} lacks {', '.join(unknown)}: no row of the ledger says who withdrew it."
            if seq in self.left and self.left[seq] != self.told_left.get(seq):
                return f"{name} was edited after something was withdrawn from it."
        for seq, fields in self.told.items():
            if still := sorted(fields - self.missing.get(seq, ("", set()))[1]):
                return f"row {seq} still holds {', '.join(still)}, which the ledger says was withdrawn."
        return None


def digest_of_left(row: ChainRow) -> str:
    """SHA-256 of what is left of a row of format 0001; the row that withdraws from it keeps this."""
    return _joined_hash(*row[:5], json.dumps(unsealed(row.body), sort_keys=True), row.supersedes)


def _problem(
    row: ChainRow, place: int, tip: str, last: ChainRow | None, before: ChainRow | None, head: tuple[int, str] | None
) -> str | None:
    """What is wrong with ``row``, which should be number ``place`` and follow the hash ``tip``."""
    if row.seq != place:
        if row.seq < place:
            return f"{_name(row)} stands twice, or before the first place."
        return f"row {place} is missing: after {_name(last)} comes {_name(row)}."
    intact = is_intact(row, place)
    if intact and row.previous == tip:
        return None
    if last and row.previous == (before.hash if before else GENESIS) and (intact or is_intact(row, place - 1)):
        return f"{_name(last)} was inserted: {_name(row)} does not follow it but the row before it."
    if intact:
        return f"{_name(row)} does not follow {_name(last)}: a row was removed, inserted or exchanged between them."
    longest = max(place, head[0] if head else 0) + 1000
    origin = next((seq for seq in range(1, longest) if is_intact(row, seq)), None)
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


def is_intact(row: ChainRow, seq: int) -> bool:
    """Whether ``row`` gives its own hash when it stands at ``seq``.

    Of a row of format 0001 from which something was withdrawn nobody can tell; the row that withdrew vouches for it.
    """
    try:
        hashed = hashed_body(row.body)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False
    if hashed is None:
        return seq == row.seq
    return _joined_hash(seq, *row[1:5], hashed, row.supersedes, row.previous) == row.hash


def _name(row: ChainRow | None) -> str:
    return f"row {row.seq} ({row.kind} {row.key!r})" if row else "the beginning"
