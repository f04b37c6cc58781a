"""A receipt: one row, shown to belong to a head without the rest of the ledger. Fields can be left out; their digests stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from custodes.ledger.chain import ChainRow, is_intact
from custodes.ledger.checking import Checked, check_stamp
from custodes.ledger.heads import Head, is_signed_by, read_heads, read_public_key
from custodes.ledger.ledger import Ledger
from custodes.ledger.merkle import merkle_path, root_of_path
from custodes.ledger.schema import log
from custodes.ledger.sealing import is_of_first_format, leaves, shown_path, withdraw, withdrawn_of
from custodes.types import InputError

FORM = "custodes receipt 1"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A row, its way up the Merkle tree, and the head whose root that tree has."""

    row: ChainRow
    path: tuple[str, ...]  # hashes, hexadecimal, from the leaf to the root
    head: Head

    def to_dict(self) -> dict[str, Any]:
        return {"form": FORM, "row": self.row._asdict(), "path": list(self.path), "head": asdict(self.head)}


def make_receipt(ledger: Ledger, seq: int, withhold: Sequence[str] = ()) -> Receipt:
    """The receipt of row ``seq`` in the head as it is now, without the fields to ``withhold``.

    Raises InputError where there is no such row or field, and for fields of a row of format 0001.
    """
    head = ledger.head(root=True)
    with ledger.reading() as connection:
        found = connection.execute(select(log).where(log.c.seq == seq)).first() if 1 <= seq <= head.rows else None
        hashes = connection.scalars(select(log.c.hash).where(log.c.seq <= head.rows).order_by(log.c.seq)).all()
    if found is None:
        raise InputError(f"row {seq} is not in this ledger; it has rows 1 to {head.rows}.")
    return Receipt(_without(ChainRow(*found), withhold), tuple(merkle_path(hashes, seq - 1)), head)


def _without(row: ChainRow, fields: Sequence[str]) -> ChainRow:
    """``row`` with the digests of ``fields`` in place of what they hold. Raises InputError for what is not there."""
    paths = {path: shown_path(path) for path, _ in leaves(row.body)}
    chosen = [path for path, shown in paths.items() if any(shown == f or shown.startswith(f"{f}.") for f in fields)]
    for f in fields:
        if not any(paths[p] == f or paths[p].startswith(f"{f}.") for p in chosen):
            raise InputError(f"row {row.seq} has no field {f!r}; it has {', '.join(paths.values())}.")
    if not chosen:
        return row
    body = withdraw(row.body, chosen)
    if is_of_first_format(body):
        raise InputError(f"row {row.seq} is of ledger format 0001, which can only be shown whole.")
    return row._replace(body=body)


def _read_receipt(path: Path) -> Receipt:
    """Raises InputError for a file that is none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told.pop("form") != FORM:
            raise ValueError
        receipt = Receipt(ChainRow(**told["row"]), tuple(told["path"]), Head(**told["head"]))
        if not (isinstance(receipt.row.seq, int) and isinstance(receipt.head.rows, int) and receipt.head.root):
            raise ValueError
        [bytes.fromhex(hash) for hash in (*receipt.path, receipt.row.hash)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no receipt of a row ({error or 'another form'}); custodes ledger receipt writes one."
        ) from None
    return receipt


def check_receipt(
    path: Path, *, head_file: Path | None = None, public_key: Path | None = None, time_roots: Path | None = None
) -> Checked:
    """Whether the row gives its hash, the hash the root, and whether the root is of a head that was kept or signed.

    Raises InputError for a file that is no receipt.
    """
    receipt = _read_receipt(path)
    row, head = receipt.row, receipt.head
    name = f"row {row.seq:,} ({row.kind} {row.key!r})"
    found = Checked(1, head.head, f"{name} is one of the {head.rows:,} rows under the root {head.root}.")
    if withdrawn := withdrawn_of(row.body):
        found.notes.append(f"{name} is shown without {', '.join(map(shown_path, withdrawn))}; their digests are there.")
    if not is_intact(row, row.seq) or is_of_first_format(row.body):
        found.problems.append(f"{name} was edited: its contents do not give its hash.")
    elif root_of_path(row.hash, row.seq - 1, head.rows, receipt.path) != head.root:
        found.problems.append(f"{name} is not among the {head.rows:,} rows of this head.")
    if public_key is not None and not is_signed_by(head, read_public_key(public_key)):
        found.problems.append(f"the head of {path} is not signed by {public_key}.")
    if head_file is not None:
        kept = [
            (n, h)
            for n, h in read_heads(head_file)
            if (h.origin, h.rows, h.root) == (head.origin, head.rows, head.root)
        ]
        if not kept:
            found.problems.append(f"{head_file} holds no head of {head.rows:,} rows with this root.")
        for number, same in kept:
            check_stamp(same, time_roots, f"{head_file}, line {number}", found)
    if head_file is None and public_key is None:
        found.notes.append("Compare the root with one that was published, or give --head-file or --public-key.")
    return found


def is_receipt(where: str) -> bool:
    """Whether a path is a file of JSON, which no ledger is."""
    path = Path(where)
    if "://" in where or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) == b"{"
