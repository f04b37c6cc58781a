"""What a disclosure reads: every run of some ledgers, and which rows of them a value came from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from custodes.audit.record import RecordedRun
from custodes.audit.rows import Row
from custodes.feedback.project import Project, parse_project
from custodes.ledger import Ledger, Run, Verification
from custodes.ledger.checking import holes_of
from custodes.ledger.redacting import redaction_sentences
from custodes.types import InputError

R = TypeVar("R", bound=Row)
OF_ITSELF = ("audit disclose", "audit report", "report")
"""Runs that only write down what is recorded: there is nothing to disclose of them."""


class RecordRow(NamedTuple):
    """A row of a ledger, with the record that it holds."""

    place: RunPlace
    kind: str
    seq: int
    hash: str
    record: Any

    @property
    def name(self) -> str:
        """Which sort of its kind it is: the name of an evaluation, what a decision was, the kind of a judgment."""
        field = "name" if self.kind == "evaluation" else "what" if self.kind == "decision" else "kind"
        return str(self.record.role if self.kind == "artefact" else getattr(self.record, field, ""))


@dataclass(frozen=True)
class RowReference:
    """Where a value came from: one row, or all rows of a sort in a run from one row to another."""

    ledger: str
    run: str
    kind: str
    """run, annotator, judgment, model, evaluation, decision, artefact or task."""
    name: str
    """Which of its kind: "reward_heldout" of evaluations, "comparison" of judgments."""
    rows: int
    first: int
    last: int
    hash: str
    """The row's own; of several rows the SHA-256 of their hashes, joined by line feeds."""

    def __str__(self) -> str:
        what = " ".join(filter(None, (self.kind, self.name)))
        if self.rows == 1:
            return f"{what}, row {self.first:,} of {self.run}"
        return f"{self.rows:,} × {what}, rows {self.first:,} to {self.last:,} of {self.run}"


@dataclass(frozen=True, eq=False)
class RunPlace:
    """A run of one of the ledgers. ``label`` is its recipe, with a number behind it where others have the same."""

    ledger: Ledger
    seq: int
    hash: str
    run: Run
    label: str

    @cached_property
    def recorded(self) -> RecordedRun:
        """As the sections of a report read it."""
        return RecordedRun(self.ledger, self.run.id)

    @cached_property
    def project(self) -> Project | None:
        """The feedback project that this run is; None for other runs."""
        text = self.run.config.get("project")
        return parse_project(text, self.label) if self.run.recipe.startswith("project ") and text else None

    @property
    def row(self) -> RecordRow:
        return RecordRow(self, "run", self.seq, self.hash, self.run)


class RecordedHistory:
    """The runs of some ledgers, oldest first, and their rows. Of copies of a ledger the one with most rows is read."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        """Raises InputError for a ledger whose chain is broken, and where there is no run to disclose."""
        verified = {ledger: _verified(ledger) for ledger in ledgers}
        own = _own_runs(sorted(ledgers, key=lambda ledger: -verified[ledger].rows))
        self.ledgers = [ledger for ledger in ledgers if own[ledger] or not ledger.runs()]
        self.verified = [verified[ledger] for ledger in self.ledgers]
        self.runs = _places(own)
        if not self.runs:
            named = " and ".join(ledger.name for ledger in ledgers)
            raise InputError(f"{named} holds no run; there is nothing to disclose.")
        self._rows: dict[str, list[RecordRow]] = {"run": [place.row for place in self.runs]}

    @cached_property
    def gaps(self) -> list[str]:
        """What the ledgers say that they do not hold, or hold no more: sentences."""
        told = [[*holes_of(ledger)[0], *redaction_sentences(ledger)] for ledger in self.ledgers]
        return [sentence for of_ledger in told for sentence in of_ledger]

    def rows(self, kind: str, *names: str) -> list[RecordRow]:
        """The rows of a kind, of these sorts, run by run in the order in which they were written."""
        if kind not in self._rows:
            self._rows[kind] = [
                RecordRow(place, kind, seq, hash, record)
                for place in self.runs
                for seq, hash, record in place.ledger.rows(place.run.id, kind)
            ]
        return [row for row in self._rows[kind] if not names or row.name in names]

    def of_run(self, place: RunPlace, kind: str, *names: str) -> list[RecordRow]:
        return [row for row in self.rows(kind, *names) if row.place is place]

    def measured(self, kind: type[R]) -> Iterator[tuple[RunPlace, list[RecordRow]]]:
        """Each run that has evaluation rows of this sort, with them."""
        for place in self.runs:
            if rows := self.of_run(place, "evaluation", kind.NAME):
                yield place, rows

    @property
    def projects(self) -> list[tuple[RunPlace, Project]]:
        return [(place, place.project) for place in self.runs if place.project is not None]

    def cite(self, rows: Sequence[RecordRow]) -> list[RowReference]:
        """References to rows: one for each stretch of rows that follow one another among all of their sort in a run."""
        cited: dict[tuple[RunPlace, str, str], set[int]] = {}
        for row in rows:
            cited.setdefault((row.place, row.kind, row.name), set()).add(row.seq)
        found = []
        for (place, kind, name), wanted in cited.items():
            of_sort = [row for row in self.of_run(place, kind) if row.name == name]
            for chosen, stretch in groupby(of_sort, key=lambda row: row.seq in wanted):
                found += [_reference(place, kind, name, list(stretch))] if chosen else []
        return found

    def label(self, place: RunPlace, *more: str) -> str:
        """What a value is called: the run, where there are several, and what else tells it from others."""
        return ", ".join([*([place.label] if len(self.runs) > 1 else []), *filter(None, more)])


def _reference(place: RunPlace, kind: str, name: str, rows: Sequence[RecordRow]) -> RowReference:
    hashes = [row.hash for row in rows]
    joined = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return RowReference(place.ledger.name, place.run.id, kind, name, len(rows), rows[0].seq, rows[-1].seq, joined)


@contextmanager
def opened_history(places: Sequence[str]) -> Iterator[RecordedHistory]:
    """The ledgers at these paths, folders or URLs. Raises InputError for one that is not there or is broken."""
    with ExitStack() as held:
        files = [str(Path(place) / "ledger.db") if Path(place).is_dir() else place for place in places]
        yield RecordedHistory([held.enter_context(Ledger.open(file, read_only=True)) for file in dict.fromkeys(files)])


def _verified(ledger: Ledger) -> Verification:
    found = ledger.verify()
    if not found.ok:
        raise InputError(f"nothing is disclosed from {ledger.name}, since its chain is broken: {found.problem}")
    return found


def _own_runs(ledgers: Sequence[Ledger]) -> dict[Ledger, list[Run]]:
    """The runs of each ledger that none before it holds."""
    seen, own = set[str](), dict[Ledger, list[Run]]()
    for ledger in ledgers:
        own[ledger] = [run for run in ledger.runs() if run.id not in seen]
        seen |= {run.id for run in own[ledger]}
    return own


def _places(own: Mapping[Ledger, Sequence[Run]]) -> list[RunPlace]:
    rows = [
        (ledger, *row)
        for ledger, runs in own.items()
        for run in runs
        for row in ledger.rows(run.id, "run")
        if run.recipe not in OF_ITSELF and (run.status == "completed" or ledger.summary(run.id))
    ]
    seen: Counter[str] = Counter()
    places = []
    for ledger, seq, hash, run in sorted(rows, key=lambda row: row[3].started):
        seen[run.recipe] += 1
        number = f" ({seen[run.recipe]})" if seen[run.recipe] > 1 else ""
        places.append(RunPlace(ledger, seq, hash, run, run.recipe + number))
    return places
