"""What attacks found and who said that it is fixed: what ``custodes audit register`` shows, and records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from custodes.audit.sections.attacks import REGISTERED
from custodes.job.command import command, in_words
from custodes.job.options import Use
from custodes.ledger import Decision, Ledger
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class AuditRegister:
    """Show what attacks found, request by request, or record that it is fixed."""

    ledger: tyro.conf.Positional[Annotated[str, Use.APART, tyro.conf.arg(metavar="LEDGER")]]
    """File or URL (sqlite:///..., postgresql://...)."""
    fixed: str = ""
    """The request whose finding is fixed, by its id."""
    decided_by: str = ""
    """Who decided that it is fixed."""
    why: str = ""
    """The reason, which stays in the ledger."""


@dataclass(frozen=True)
class RegisterEntry:
    """One request: its latest state, and everything that was decided of it."""

    request: str
    state: str
    """open, held, fixed, or open again."""
    history: tuple[tuple[str, str], ...]
    """(run, what it says) in order."""


@dataclass(frozen=True)
class AttackRegister:
    """All requests of a ledger that were attacked."""

    entries: tuple[RegisterEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"entries": [{"request": e.request, "state": e.state, "history": e.history} for e in self.entries]}


@command(recorded=False)
def audit_register(config: AuditRegister) -> AttackRegister:
    """Show what attacks found, request by request, or record that it is fixed.

    Raises InputError for a request that no attack of this ledger broke, and for a fix that nobody answers for.
    """
    if not config.fixed and (config.decided_by or config.why):
        raise InputError("--decided-by and --why say who answers for a fix; name it with --fixed REQUEST.")
    with Ledger.open(config.ledger, read_only=not config.fixed) as ledger:
        entries = _entries(ledger)
        if config.fixed:
            entry = next((e for e in entries if e.request == config.fixed), None)
            if entry is None or not entry.state.startswith("open"):
                broken = ", ".join(e.request for e in entries if e.state.startswith("open")) or "none"
                raise InputError(f"--fixed {config.fixed}: no attack has it open; open are {broken}.")
            if not config.decided_by.strip() or not config.why.strip():
                raise InputError("--fixed needs somebody who answers for it: give --decided-by NAME and --why TEXT.")
            run = ledger.start_run("audit register", {"fixed": config.fixed, "decided_by": config.decided_by}, 0)
            decision = Decision(
                f"fixed-{config.fixed}", f"{REGISTERED}, fixed", f"{config.decided_by}: {config.why}", config.fixed
            )
            ledger.write(run, [decision])
            ledger.end_run(run)
            entries = _entries(ledger)
    return AttackRegister(tuple(entries))


@in_words(audit_register)
def _show(config: AuditRegister, register: AttackRegister) -> None:
    table = Table("request", "state", "latest", box=None)
    for entry in register.entries:
        table.add_row(entry.request, entry.state, entry.history[-1][1])
    Console(width=120).print(table if register.entries else "No attack is recorded in this ledger.")


def _entries(ledger: Ledger) -> list[RegisterEntry]:
    """Of a run that broke a request with any attack, the request is open, also where another of its arms held."""
    history: dict[str, list[tuple[str, str]]] = {}
    states: dict[str, str] = {}
    for run in ledger.runs():
        of_run: dict[str, set[str]] = {}
        for decision in ledger.decisions(run.id):
            if decision.what.startswith(REGISTERED):
                state = decision.what.rpartition(", ")[2]
                of_run.setdefault(decision.subject, set()).add(state)
                history.setdefault(decision.subject, []).append((run.id, f"{state}: {decision.why}"))
        for request, now in of_run.items():
            before = states.get(request, "")
            if "open" in now:
                states[request] = "open again" if before in ("fixed", "open again") else "open"
            elif "fixed" in now or before == "":
                states[request] = "fixed" if "fixed" in now else "held"
    return [RegisterEntry(request, states[request], tuple(told)) for request, told in history.items()]
