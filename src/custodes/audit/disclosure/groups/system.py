"""The system: its record, audits, failures that are expected or were found, and what watches for them."""

from __future__ import annotations

from collections import Counter

from custodes.audit.disclosure.lines import DisclosureGroup, Filled, Line, Shown, line
from custodes.audit.sections.alarms import AlarmsSet
from custodes.page import number, percent
from custodes.registry import disclosure

AUDITS = ("audit ", "gaming ", "critic evaluate", "reward evaluate", "policy compare")
"""How the recipes of runs begin that examine what others made."""
RANG, STOPPED, HANDED_OVER = "the alarm ", "stopped", "handed over"
ACCESS = "access: "


@disclosure
class SystemDisclosure(DisclosureGroup):
    """Audits, risks, monitoring and correction."""

    title = "System"
    place = 40
    survey = True

    @line("The record", "What this page rests on, and whether it stands as it was written.")
    def record(self) -> Filled | None:
        value = {
            f"ledger {n}"
            if len(self.history.ledgers) > 1
            else "ledger": f"{found.rows:,} rows, the chain of hashes holds, head {found.head}"
            for n, found in enumerate(self.history.verified, 1)
        }
        gaps = {f"gap {n}": gap for n, gap in enumerate(self.history.gaps, 1)}
        return Filled(value | gaps, self.history.rows("run"))

    @line("Internal audits", "Runs that examined what others made, with when they were made.")
    def audits(self) -> Filled | None:
        runs = [place for place in self.history.runs if place.run.recipe.startswith(AUDITS)]
        value = {p.label: f"{p.run.status}, {p.run.started[:10]}" for p in runs}
        return Filled(value, [place.row for place in runs])

    external = Line("External audits", "Who outside examined the system, and what they found.")

    @line("Failures that were watched for", "Which failures were expected, and how each would show.")
    def failure_modes(self) -> Filled | None:
        rows = self.history.rows("evaluation", AlarmsSet.NAME)
        value: dict[str, Shown] = {}
        for row in rows:
            of = AlarmsSet.read(row.record)
            value |= {f"alarm {alarm}": f"tells {tells}" for alarm, tells in zip(of.alarm, of.tells, strict=True)}
        return Filled(value, rows)

    risks = Line("Expected risks", "Which harms are expected in use, to whom, and how likely they are.")

    @line("Monitoring", "What watches the system, and from where on it says something.")
    def monitoring(self) -> Filled | None:
        rows = self.history.rows("evaluation", AlarmsSet.NAME)
        value: dict[str, Shown] = {}
        for row in rows:
            of = AlarmsSet.read(row.record)
            level = f"each alarm rings without a cause in at most {percent(of.level)} of runs"
            told = [
                f"{alarm} {f'is not watched ({why})' if why else f'beyond {number(tolerance)}'}{' stops the run' if acts else ''}"
                for alarm, tolerance, acts, why in zip(of.alarm, of.tolerance, of.acts, of.why_not, strict=True)
            ]
            value[self.history.label(row.place, row.record.subject)] = f"{'; '.join(told)}; {level}"
        return Filled(value, rows)

    @line("Failures that were found", "Alarms that rang, and why.")
    def failures(self) -> Filled | None:
        rows = [row for row in self.history.rows("decision") if row.name.startswith(RANG)]
        rung = {self.history.label(row.place, row.record.subject, row.name): row.record.why for row in rows}
        return Filled(rung, rows)

    @line("Corrections", "What was decided when something was found, or at the end.")
    def corrections(self) -> Filled | None:
        rows = [row for row in self.history.rows("decision") if not row.name.startswith((RANG, ACCESS))]
        value: dict[str, Shown] = dict(Counter(row.name for row in rows))
        return Filled(value, rows)

    plans = Line("Plans after release", "Who watches the model in use, and how failures are corrected.")
