"""Checking that a record was not rewritten: what ``custodes verify`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.job.command import command
from custodes.ledger.bundles import check_bundle, is_bundle
from custodes.ledger.checking import Checked, check_ledger
from custodes.ledger.receipts import check_receipt, is_receipt


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check a ledger, a bundle or a receipt. Exit code 0 where everything is as it was recorded, else 1 and one sentence for each problem."""

    ledger: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="LEDGER")]]
    """File or URL (sqlite:///..., postgresql://...); or what `audit bundle` or `ledger receipt` wrote."""
    head: str = ""
    """A hash that was kept elsewhere: the ledger must contain it."""
    head_file: Path | None = None
    """File of heads that are kept where the writer of the ledger cannot change them: `ledger sign` adds one, `verify` reads all."""
    public_key: Path | None = None
    """The key by which every line of the head file must be signed, and the head of a bundle or a receipt."""
    time_roots: Path | None = None
    """Root certificates (PEM) of the time-stamp authority whose stamp every line of the head file must have."""
    files: bool = True
    """Check the files too that the runs read and wrote."""


@command(recorded=False)
def verify(config: Verify) -> Checked:
    """Check that nothing in a ledger was edited, removed or reordered."""
    kept = {"head_file": config.head_file, "public_key": config.public_key, "time_roots": config.time_roots}
    if is_receipt(config.ledger):
        return check_receipt(Path(config.ledger), **kept)
    if is_bundle(config.ledger):
        return check_bundle(Path(config.ledger), head=config.head, **kept)
    return check_ledger(config.ledger, head=config.head, files=config.files, **kept)
