"""The disclosure of a model: what ``custodes audit disclose`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.audit.disclosure import write_disclosure
from custodes.job.command import command, in_words
from custodes.job.options import Output, Use
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class AuditDisclose:
    """Write what a reviewer asks of a model: each line with its rows of the record, or "not recorded"."""

    ledgers: tyro.conf.Positional[Annotated[tuple[str, ...], Use.APART, tyro.conf.arg(metavar="LEDGER")]]
    """Files, folders of runs or URLs of all ledgers that had a part: of the training, and of the project in which people judged."""
    out: Output
    """Folder for disclosure.html, disclosure.json and the other files."""
    against: tuple[str, ...] = ()
    """Ledgers of another run: what its record says otherwise is told too, value by value."""
    facts: Path | None = None
    """YAML file with what the record does not hold. facts.template.yaml, which is written too, shows its fields."""


@command()
def audit_disclose(config: AuditDisclose) -> Path:
    """Write the disclosure of a model: page, model card and forms, each line with its rows of the record.

    Raises InputError for a ledger whose chain is broken, of which nothing is disclosed, and for facts of unknown lines.
    """
    if not config.ledgers:
        raise InputError("no ledger to disclose from; give the ledger of a run, for example runs/quickstart/ledger.db.")
    return write_disclosure(config.ledgers, config.out, config.facts, config.against)[0]


@in_words(audit_disclose)
def _show(config: AuditDisclose, page: Path) -> None:
    for path in sorted(page.parent.iterdir()):
        if path.is_file() and path.name != "ledger.db":
            print(path)
