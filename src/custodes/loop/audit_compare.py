"""Runs side by side at equal KL: what ``custodes audit compare`` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table

from custodes.audit import compare_arms
from custodes.job.command import command, in_words

if TYPE_CHECKING:
    from custodes.audit.seeds import SeedsOfArms


@dataclass(frozen=True, kw_only=True)
class AuditCompare:
    """The careful and the naive arm of several runs (custodes quickstart --arms all --seed N) at equal KL."""

    runs: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="DIR")]]
    """Folders of the runs, or their ledgers; one for each seed."""


@command()
def audit_compare(config: AuditCompare) -> SeedsOfArms:
    """Set the arms of several runs side by side at equal KL, seed by seed."""
    return compare_arms(config.runs)


@in_words(audit_compare)
def _show(config: AuditCompare, compared: SeedsOfArms) -> None:
    table = Table("seed", "√KL", "gold, careful", "gold, naive", "difference, paired by task", box=None)
    for s in compared.runs:
        table.add_row(str(s.seed), f"{s.sqrt_kl:.2f}", *(str(i) for i in (s.careful, s.naive, s.difference)))
    Console().print(table)
    print(f"Over seeds (Student's t of the seeds' differences): {compared.difference}.")
