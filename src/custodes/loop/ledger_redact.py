"""Withdrawing what a ledger holds of a person: what ``custodes ledger redact`` does."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.job.command import command, in_words
from custodes.ledger import Ledger
from custodes.ledger.redacting import Redacted, RedactionChoice, redact
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class LedgerRedact:
    """Withdraw fields of rows. The text goes, its digest stays, and a row of the ledger says who withdrew it and why."""

    ledger: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="LEDGER")]]
    """File or URL (sqlite:///..., postgresql://...)."""
    why: str
    """The reason, which stays in the ledger."""
    by: str = ""
    """Who withdraws, which stays in the ledger; without it the name of this computer's user."""
    row: tyro.conf.UseAppendAction[tuple[int, ...]] = ()
    """Number of a row. May be repeated."""
    annotator: str = ""
    """Id of the annotator."""
    holding: str = ""
    """Rows that hold this text, to the letter."""
    run: str = ""
    """Rows of this run only, by its id."""
    field: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field to withdraw, as in text or task.messages; without it the fields with the text of --holding, else what was said."""
    file: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A recorded file that is withdrawn whole and deleted. May be repeated."""
    dry_run: bool = False
    """Only print what would be withdrawn."""


@command(recorded=False)
def ledger_redact(config: LedgerRedact) -> Redacted:
    """Withdraw a person's text from a ledger, and keep its digest."""
    if not config.why.strip():
        raise InputError("--why is empty; say why this is withdrawn, for whoever reads the ledger later.")
    if config.by and not config.by.strip():
        raise InputError("--by is empty; name who withdraws this, or leave it out for your login.")
    choice = RedactionChoice(
        run=config.run, rows=config.row, annotator=config.annotator, holding=config.holding, fields=config.field
    )
    Ledger.open(config.ledger, read_only=True).close()  # what is not there is not made
    with Ledger.open(config.ledger) as ledger:
        chain = ledger.verify()
        if not chain.ok:
            raise InputError(f"{config.ledger} is left as it is, since its chain is broken: {chain.problem}")
        who = config.by or getpass.getuser()
        return redact(ledger, choice, config.file, who=who, why=config.why, dry_run=config.dry_run)


@in_words(ledger_redact)
def _show(config: LedgerRedact, found: Redacted) -> None:
    for row in found.rows:
        print(f"row {row['row']:,} ({row['kind']} {row['key']!r}): {', '.join(row['fields'])}")
    for name in found.files:
        print(f"file {name}")
    if config.dry_run:
        print("Nothing was withdrawn: this was a dry run.")
    elif not found.rows and not found.files:
        print("All of this was withdrawn before.")
    for sentence in (*found.still, found.unwiped):
        if sentence:
            print(f"Still there: {sentence}")
