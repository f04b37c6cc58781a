"""The report of a run, from its ledger alone: what ``custodes audit report`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.audit import write_report
from custodes.job.command import command, in_words
from custodes.job.options import Output, Use
from custodes.job.workspace import latest_runs
from custodes.ledger import Ledger
from custodes.ledger.artefacts import require_files
from custodes.types import InputError

REPORTS = ("audit report", "report", "audit register")
"""What a report's own run is called, was called in version 0.1, and what a fix is: there is nothing to report of them."""


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Write the report of a run again, from its ledger alone."""

    ledger: tyro.conf.Positional[Annotated[str, Use.APART, tyro.conf.arg(metavar="LEDGER")]]
    """File or URL (sqlite:///..., postgresql://...)."""
    out: Output
    """Folder for report.html and report.json."""
    run: str = ""
    """Id of the run; without: the ledger's last one that recorded anything."""
    section: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """One more section, of your own: FILE.py or FILE.py:Name. May be repeated."""


@command()
def audit_report(config: AuditReport) -> Path:
    """Write the report of a run again, from its ledger alone."""
    with Ledger.open(config.ledger, read_only=True) as ledger:
        require_files(ledger)
        runs = [config.run] if config.run else [r.id for r in latest_runs(ledger) if r.recipe not in REPORTS]
        if not runs:
            raise InputError(f"{config.ledger} holds no run; there is nothing to report.")
        return write_report(ledger, runs[0], config.out, config.section)[0]


@in_words(audit_report)
def _show(config: AuditReport, page: Path) -> None:
    print(f"{page}\n{page.with_suffix('.json')}")
