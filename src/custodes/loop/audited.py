"""What audits of one run share: the report of its record, and what a command gives back of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.files import plain_json
from custodes.job.workspace import Workspace
from custodes.ledger.checking import configured_head
from custodes.page import Report, Section, save_report


@dataclass(frozen=True)
class Audited:
    """What came of an audit, and where its report is."""

    figures: dict[str, Any]
    claims: tuple[str, ...]
    report: Path

    def to_dict(self) -> dict[str, Any]:
        return {**dict(plain_json(self.figures)), "claims": list(self.claims), "report": str(self.report)}


def write_audit(
    work: Workspace,
    out: Path,
    sections: Sequence[Section[Any]],
    *,
    kind: str,
    title: str,
    summary: str,
    subtitle: str = "",
    reading: str = "",
) -> Path:
    """Write report.html and report.json of a run that has ended, and keep both in its record; returns the path of the page.

    What the words are for is said by :class:`custodes.page.Report`. The subtitle begins with the run.
    """
    report = Report(
        kind=kind,
        title=title,
        subtitle=", ".join(filter(None, (f"Run {work.run}", subtitle))),
        sections=sections,
        head=configured_head(work.ledger),
        summary=summary,
        reading=reading,
    )
    page = save_report(report, out / "report.html", (out / "report.json", report.to_json()))
    work.recording.keep(page, page.with_suffix(".json"))
    return page
