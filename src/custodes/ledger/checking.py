"""Everything that ``custodes verify`` checks: the chain, its triggers, files, holes, and heads that were kept elsewhere."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from custodes.digests import HOLE, TAKEN, follows_sentence
from custodes.ledger.artefacts import check_files
from custodes.ledger.heads import (
    Head,
    configured_key,
    is_signed_by,
    read_heads,
    read_private_key,
    read_public_key,
    sign_head,
)
from custodes.ledger.ledger import Ledger
from custodes.ledger.redacting import redaction_sentences, withdrawn_rows
from custodes.ledger.stamps import read_roots, stamped_at
from custodes.types import InputError

MOST_FOLDERS = 20_000
"""Folders below the ledger's that are searched for checkpoints."""


@dataclass(slots=True)
class Checked:
    """What was found: sentences. The record holds where there is no problem."""

    rows: int = 0  # of the log that are good
    head: str = ""  # hash of the last of them
    held: str = ""  # what holds, where it is no whole ledger
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    withdrawn: list[dict[str, Any]] = field(default_factory=list)  # rows that lack fields

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def exit_code(self) -> int:
        return 0 if self.ok else 1

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        held = [self.held or f"The chain holds: {self.rows:,} rows, head {self.head}."] if self.ok else []
        return "\n".join([*(f"The record is broken: {problem}" for problem in self.problems), *held])


def configured_head(ledger: Ledger) -> Head:
    """The head of a ledger, signed where whoever runs this has a key."""
    path = configured_key()
    return ledger.head() if path is None else sign_head(ledger.head(), read_private_key(path))


def check_ledger(
    where: str | Path,
    *,
    head: str = "",
    head_file: Path | None = None,
    public_key: Path | None = None,
    time_roots: Path | None = None,
    files: bool = True,
) -> Checked:
    """Check the ledger at ``where``, changing nothing; with ``files`` also the files that it rests on.

    ``head`` is a hash that the ledger must contain. So must it contain every line of ``head_file`` that speaks of it.
    Each must be signed by ``public_key``, and have a time stamp of an authority under a certificate in ``time_roots``, where
    these are given. Raises InputError where there is no ledger, where ``head`` is no hash, and for files that cannot be
    read.
    """
    if public_key is not None and head_file is None:
        raise InputError("--public-key checks the signatures of a head file; give --head-file too.")
    if time_roots is not None and head_file is None:
        raise InputError("--time-roots checks the time stamps of a head file; give --head-file too.")
    with Ledger.open(where, read_only=True) as ledger:
        found = check_opened(ledger, head, head_file, public_key, time_roots)
        if files:
            problems, notes = check_files(ledger)
            found.problems += [*problems, *_loose_checkpoints(ledger)]
            found.notes += notes
    return found


def check_opened(
    ledger: Ledger, head: str, head_file: Path | None, public_key: Path | None, time_roots: Path | None
) -> Checked:
    """The chain of an open ledger, its holes, its gaps, and heads that were kept; files apart."""
    if head and not re.fullmatch("[0-9a-fA-F]{64}", head):
        raise InputError(f"--head {head[:80]!r} is no hash; give all of its 64 hexadecimal digits.")
    chain = ledger.verify()
    found = Checked(chain.rows, chain.head)
    if chain.problem:
        found.problems.append(chain.problem)
    holes, taken = holes_of(ledger)
    found.problems += holes
    if chain.ok:
        found.notes += redaction_sentences(ledger)
        found.withdrawn = [row._asdict() for row in withdrawn_rows(ledger)]
    found.notes += taken
    if head:
        _check_head(ledger, head.lower(), found)
    if head_file is not None:
        _check_heads(ledger, head_file, public_key, time_roots, found)
    return found


def holes_of(ledger: Ledger, run: str = "") -> tuple[list[str], list[str]]:
    """What the ledger, or one run of it, says that it does not hold (holes), and what a killed run took as it was found."""
    runs = [run] if run else [r.id for r in ledger.runs()]
    decisions = [d for r in runs for d in ledger.decisions(r)]
    return [d.why for d in decisions if d.what == HOLE], [d.why for d in decisions if d.what == TAKEN]


def _loose_checkpoints(ledger: Ledger) -> Iterator[str]:
    """A sentence for each checkpoint beside the ledger that follows a row which it does not hold."""
    if "://" in ledger.name:
        return
    for number, (place, folders, names) in enumerate(os.walk(Path(ledger.name).resolve().parent)):
        if number == MOST_FOLDERS:
            return
        if number and "ledger.db" in names:  # those below are another ledger's
            folders.clear()
        elif "follows.json" in names:
            path = Path(place)
            try:
                position = json.loads((path / "follows.json").read_text())
                if not ledger.holds(int(position["row"]), str(position["hash"])):
                    yield f"{follows_sentence(path, position)}."
            except (OSError, ValueError, KeyError, TypeError):
                yield f"checkpoint {path} does not say which row it follows."


def _check_head(ledger: Ledger, hash: str, found: Checked) -> None:
    seq = ledger.row_of(hash)
    rows = ledger.head().rows
    if seq is None:
        found.problems.append(f"no row has the hash {hash}: {_REWRITTEN}")
    elif seq == rows:
        found.notes.append(f"{hash} is the head.")
    else:
        later = "1 row came after it" if rows - seq == 1 else f"{rows - seq:,} rows came after it"
        found.notes.append(f"{hash} is the hash of row {seq:,}, an ancestor of the head: {later}.")


def _check_heads(ledger: Ledger, path: Path, public_key: Path | None, time_roots: Path | None, found: Checked) -> None:
    key = read_public_key(public_key) if public_key is not None else None
    now, mine = ledger.head(), 0
    heads = [(n, h) for n, h in read_heads(path) if now.origin == h.origin or now.ledger == h.ledger]
    roots = ledger.roots({h.rows for _, h in heads if h.root})
    for number, head in heads:
        mine += 1
        where = f"{path}, line {number}"
        if not ledger.holds(head.rows, head.head):
            found.problems.append(
                f"{where}: on {head.time} row {head.rows:,} had the hash {head.head}, and now it has not: {_REWRITTEN}"
            )
        elif head.root and roots.get(head.rows) != head.root:
            found.problems.append(f"{where}: the rows do not give the root {head.root}: {_REWRITTEN}")
        check_stamp(head, time_roots, where, found)
        if key is not None and not is_signed_by(head, key):
            what = "its signature is not of this key" if head.signature else "it is not signed"
            found.problems.append(f"{where}: {what}.")
    if not mine:
        found.problems.append(f"{path} holds no head of this ledger; it cannot vouch for it.")
    elif not any(str(path) in problem for problem in found.problems):
        signed = f", each signed by {public_key}" if key is not None else ""
        found.notes.append(
            f"{path} holds {mine:,} head{'' if mine == 1 else 's'} of this ledger, all in the chain{signed}."
        )
        if key is None:
            found.notes.append("Signatures were not checked; give --public-key.")


def check_stamp(head: Head, roots: Path | None, where: str, found: Checked) -> None:
    """Whether the time stamp of ``head``, which stands at ``where``, is of an authority under ``roots``; told in ``found``."""
    if not head.stamp:
        if roots is not None:
            found.problems.append(f"{where}: it has no time stamp.")
    elif roots is None:
        found.notes.append(f"{where}: its time stamp was not checked; give --time-roots.")
    else:
        trusted = read_roots(roots)
        try:
            found.notes.append(
                f"{where}: row {head.rows:,} was there on {stamped_at(head, trusted)}, says the time stamp."
            )
        except ValueError as error:
            found.problems.append(f"{where}: its time stamp does not hold: {error}.")


_REWRITTEN = "the ledger was rewritten or cut, or is another one."
