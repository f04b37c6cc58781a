"""The report of a run: ``report.html``, one page that needs no network, and ``report.json``, the same content.

Nothing is read but the ledger. What it does not hold is None, and is named as not recorded.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from markupsafe import Markup

from custodes.audit import sections as folder
from custodes.audit.record import RecordedRun, RunSection
from custodes.ledger import Ledger
from custodes.ledger.checking import configured_head
from custodes.page import Report, save_report

READING = """Brackets hold 95 % intervals and n is the number of observations. <i>Gold</i> is the truth that the
simulation knows and that neither reward nor policy saw; <i>proxy</i> is the learned reward."""


def write_report(ledger: Ledger, run: str, out: str | Path) -> tuple[Path, Path]:
    """Audit ``run`` and write ``out/report.html`` and ``out/report.json``; returns both paths.

    Raises InputError when the run is unknown or the folder cannot be written.
    """
    page, data = Path(out) / "report.html", Path(out) / "report.json"
    audit = audit_run(ledger, run)
    return save_report(audit, page, (data, audit.to_json())), data


def audit_run(ledger: Ledger, run: str) -> Report:
    """What a run's ledger says, section by section. Raises InputError when the ledger has no such run."""
    source = RecordedRun(ledger, run)
    made = [kind(source, name) for name, kind in section_classes().items()]
    recorded, several = source.run, len(source.arms) > 1
    about_arm = Markup(" The summary is about the arm “{}”.").format(source.arms[0]) if several else ""
    return Report(
        kind="Custodes report",
        title=recorded.recipe.capitalize(),
        subtitle=f"Run {recorded.id} · started {recorded.started[:16].replace('T', ' ')} UTC · seed {recorded.seed}"
        f" · {recorded.status}",
        sections=sorted(made, key=lambda section: section.place),
        head=configured_head(ledger),
        summary="What happened",
        reading=Markup(READING) + about_arm,
    )


def section_classes() -> dict[str, type[RunSection]]:
    """Name -> class of every section: the files of the folder ``sections``."""
    classes = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(folder.__path__)):
        module = import_module(f"{folder.__name__}.{name}")
        classes[name] = next(
            kind
            for kind in vars(module).values()
            if isinstance(kind, type) and issubclass(kind, RunSection) and kind.__module__ == module.__name__
        )
    return classes
