"""Checking that a record was not rewritten: what ``custodes verify`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.job.command import command
from custodes.ledger.checking import Checked, check_ledger


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check a ledger. Exit code 0 where everything is as it was recorded, else 1 and one sentence for each problem."""

    ledger: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="LEDGER")]]
    """File or URL (sqlite:///..., postgresql://...)."""
    head: str = ""
    """A hash that was kept elsewhere: the ledger must contain it."""
    head_file: Path | None = None
    """File of heads that are kept where the writer of the ledger cannot change them: `ledger sign` adds one, `verify` reads all."""
    public_key: Path | None = None
    """The key by which every line of the head file must be signed."""
    files: bool = True
    """Check the files too that the runs read and wrote."""


@command(recorded=False)
def verify(config: Verify) -> Checked:
    """Check that nothing in a ledger was edited, removed or reordered."""
    return check_ledger(
        config.ledger, head=config.head, head_file=config.head_file, public_key=config.public_key, files=config.files
    )
