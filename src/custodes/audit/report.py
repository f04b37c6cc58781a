"""The report of a run: ``report.html``, one page that needs no network, and ``report.json``, the same content.

Nothing is read but the ledger. What it does not hold is None, and is named as not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from markupsafe import Markup

from custodes import registry
from custodes.audit.record import RecordedRun, RunSection
from custodes.ledger import Ledger
from custodes.ledger.checking import configured_head
from custodes.page import Report, save_report
from custodes.types import InputError

READING = """Brackets hold 95 % intervals and n is the number of observations. <i>Gold</i> is the truth that the
simulation knows and that neither reward nor policy saw; <i>proxy</i> is the learned reward."""


def write_report(ledger: Ledger, run: str, out: str | Path, sections: Sequence[str] = ()) -> tuple[Path, Path]:
    """Audit ``run`` and write ``out/report.html`` and ``out/report.json``; returns both paths.

    ``sections`` are more sections than the usual ones, each FILE.py or FILE.py:Name. Raises InputError when the run is
    unknown, when a section fails, or when the folder cannot be written.
    """
    page, data = Path(out) / "report.html", Path(out) / "report.json"
    with _failures_told(sections):
        audit = audit_run(ledger, run, sections)
        return save_report(audit, page, (data, audit.to_json())), data


def audit_run(ledger: Ledger, run: str, sections: Sequence[str] = ()) -> Report:
    """What a run's ledger says, section by section. Raises InputError when the ledger has no such run."""
    source = RecordedRun(ledger, run)
    kinds: dict[str, type[RunSection]] = {name: registry.section.find(name) for name in registry.section.names()}
    for own in sections:
        kind = registry.section.find(own)
        name = kind.__name__.lower()
        if name in kinds and kinds[name].__name__ != kind.__name__:  # else the same one, known already
            raise InputError(f"section {own}: there is a section {name!r} already; give the class another name.")
        kinds[name] = kind
    made = [kind(source, name) for name, kind in kinds.items()]
    recorded, several = source.run, len(source.arms) > 1
    about_arm = Markup(" The summary is about the arm “{}”.").format(source.arms[0]) if several else ""
    started = recorded.started[:16].replace("T", " ")
    return Report(
        kind="Custodes report",
        title=recorded.recipe.capitalize(),
        subtitle=f"Run {recorded.id} · started {started} UTC · seed {recorded.seed} · {recorded.status}",
        sections=sorted(made, key=lambda section: section.place),
        head=configured_head(ledger),
        summary="What happened",
        reading=Markup(READING) + about_arm,
    )


@contextmanager
def _failures_told(sections: Sequence[str]) -> Iterator[None]:
    """What goes wrong in a person's own file is one sentence with its line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        for own in sections:
            file = Path(own.rpartition(".py")[0] + ".py")
            if (place := registry.place_in(file, error)) != str(file):
                raise InputError(f"section {place}: {type(error).__name__}: {error}.") from error
        raise
