"""One row, shown to belong to a head without the rest: what ``custodes ledger receipt`` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from custodes.job.command import command, in_words
from custodes.ledger import Ledger
from custodes.ledger.heads import configured_key, read_private_key, sign_head
from custodes.ledger.receipts import Receipt, make_receipt


@dataclass(frozen=True, kw_only=True)
class LedgerReceipt:
    """Print a receipt of one row: its contents, and the hashes that lead from it to the root of the ledger's head."""

    ledger: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="LEDGER")]]
    """File or URL (sqlite:///..., postgresql://...)."""
    row: int
    """Number of the row."""
    withhold: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field that is left out, as in text; its digest stays. May be repeated."""


@command(recorded=False)
def ledger_receipt(config: LedgerReceipt) -> Receipt:
    """Print one row as JSON, and prove that it belongs to a head."""
    with Ledger.open(config.ledger, read_only=True) as ledger:
        receipt = make_receipt(ledger, config.row, config.withhold)
    if (key := configured_key()) is not None:
        receipt = replace(receipt, head=sign_head(receipt.head, read_private_key(key)))
    return receipt


@in_words(ledger_receipt)
def _show(config: LedgerReceipt, receipt: Receipt) -> None:
    print(json.dumps(receipt.to_dict(), ensure_ascii=False))
