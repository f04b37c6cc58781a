"""Signing the head of a ledger: what ``custodes ledger sign`` does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.job.command import command, in_words
from custodes.ledger import Ledger, verify_ledger
from custodes.ledger.heads import Head, append_head, configured_key, read_private_key, sign_head
from custodes.ledger.stamps import stamp_head
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class LedgerSign:
    """Print the head of a ledger as one JSON object, signed by your key, with the time stamp of an authority if you like."""

    ledger: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="LEDGER")]]
    """File or URL (sqlite:///..., postgresql://...)."""
    head_file: Path | None = None
    """File of heads that are kept where the writer of the ledger cannot change them: `ledger sign` adds one, `verify` reads all."""
    key: Path | None = None
    """The private key; without it CUSTODES_LEDGER_KEY, or the file that `custodes ledger keygen` writes."""
    time_stamp: str = ""
    """URL of a time-stamp authority (RFC 3161) that says when it saw the head; with it, a key is not needed."""


@command(recorded=False)
def ledger_sign(config: LedgerSign) -> Head:
    """Print the head of a ledger, signed, and keep it in a file."""
    path = config.key or configured_key()
    if path is None and not config.time_stamp:
        raise InputError("there is no key to sign with; make one with custodes ledger keygen, or give --key.")
    key = read_private_key(path) if path is not None else None
    chain = verify_ledger(config.ledger)
    if not chain.ok:
        raise InputError(f"{config.ledger} is not signed, since its chain is broken: {chain.problem}")
    with Ledger.open(config.ledger, read_only=True) as ledger:
        head = ledger.head(root=True)
    head = head if key is None else sign_head(head, key)
    if config.time_stamp:
        head = stamp_head(head, config.time_stamp)
    if config.head_file is not None:
        append_head(config.head_file, head)
    return head


@in_words(ledger_sign)
def _show(config: LedgerSign, head: Head) -> None:
    print(json.dumps(asdict(head)))
