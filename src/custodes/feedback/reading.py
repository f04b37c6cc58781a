"""Feedback in any form: a table of one of :mod:`custodes.feedback.forms`, a platform's export, or a ledger becomes judgments.

Nothing is lost without a sentence: what had to be assumed, which columns and rows were left out, and what cannot be read.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from custodes import registry
from custodes.dialogue import UNREAD
from custodes.feedback.collection import Feedback
from custodes.feedback.exchange import examples_from_judgments, pairs_from_corrections, pairs_from_judgments
from custodes.feedback.form import DatasetForm
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.platform import Platform, read_platform
from custodes.feedback.records import TEXTS
from custodes.feedback.source import SKIP, Source, rows_shown, says_nothing
from custodes.ledger import Ledger
from custodes.ledger.redacting import withdrawn_rows
from custodes.registry import Chosen
from custodes.tables import TableRow, hash_table, read_rows
from custodes.types import Annotator, Episode, Example, InputError, PreferencePair

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class JudgmentsOptions:
    """Where people's judgments come from, for every command that takes them."""

    judgments: str
    """Judgments in any form: a table (.jsonl, .json, .csv, .parquet, plain or packed), a folder of shards, a hub id, a ledger."""
    read_as: Annotated[str, Chosen(registry.form, by_name=True)] = ""
    """Form of the table, the platform that wrote it (argilla, label-studio), or FILE.py:Name; "" finds the form by the columns."""
    rows: str = ""
    """Use rows FIRST:END only. Rows are counted from 0, and END is left out: 0:900."""
    axis: str = ""
    """Axis of the comparisons. "" takes "overall", or the first axis that was compared on."""
    skip_bad_rows: bool = False
    """Leave out rows that cannot be used, and rows with an empty answer; their number is printed."""

    def read(self) -> FeedbackFile:
        """The file. Raises InputError for anything wrong with it, and where none is given."""
        if not self.judgments:
            raise InputError("there is nothing to learn from; give people's judgments with --judgments FILE.")
        return read_feedback(self.judgments, skip_bad_rows=self.skip_bad_rows, rows=self.rows, read_as=self.read_as)

    def read_pairs(self) -> list[PreferencePair]:
        """What a reward learns from, without pairs of weight 0; what was assumed and left out is said as warnings."""
        file = self.read()
        pairs = file.pairs(self.axis)
        file.warn(self.axis)
        return [pair for pair in pairs if pair.weight > 0]


NOT_READ = (*UNREAD, "audios", "tools", "functions", "documents", "passages")
"""Columns that carry meaning which no model here is shown: a row that has something in one of them is refused."""


@dataclass(frozen=True)
class FeedbackFile:
    """What a file holds, and what became of the rest of it."""

    path: str
    form: str
    rows: int
    feedback: Feedback
    assumed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    """Of the rows that cannot be used, where they were to be left out: what is wrong with each."""
    notes: tuple[str, ...] = field(default=())
    """What reading the table had to assume."""

    @property
    def name(self) -> str:
        return Path(self.path).name

    @property
    def unordered(self) -> list[Episode] | None:
        """The episodes, where the file does not say which answer was shown first; else None."""
        return None if self.form in ("judgments", "ledger") else list(self.feedback.episodes.values())

    def counts(self) -> dict[str, int]:
        """How many judgments there are of each kind, comparisons and rankings by axis."""
        return dict(Counter(_on(j.kind, getattr(j, "axis", getattr(j, "name", ""))) for j in self.feedback.judgments))

    def axis(self, asked: str = "") -> str:
        """``asked``; or "overall" where it was compared on, else the first axis that was."""
        axes = dict.fromkeys(j.axis for j in self.feedback.judgments if isinstance(j, Comparison | Ranking))
        return asked or ("overall" if "overall" in axes or not axes else next(iter(axes)))

    def check_texts(self) -> None:
        """Raises InputError where the file has no texts of what was judged."""
        held = self.feedback
        if any(id not in held.episodes for judgment in held.judgments for id in judgment.episodes):
            raise InputError(
                f"{self.path} names what was judged by ids only; write it again with this version, or give the ledger."
            )

    def pairs(self, axis: str = "") -> list[PreferencePair]:
        """The training pairs of a reward on :meth:`axis`, corrections among them. Raises InputError where there are none."""
        self.check_texts()
        chosen, held = self.axis(axis), self.feedback
        episodes = list(held.episodes.values())
        pairs = pairs_from_judgments(held.judgments, episodes, axis=chosen, origins=held.origins, weightless=True)
        pairs += pairs_from_corrections(held.judgments, episodes, chosen)
        if not pairs:
            raise InputError(
                f"{self.path} holds {listed(self.counts())}; comparisons are needed, and none on axis "
                f"{chosen!r} says which of two answers is better."
            )
        return pairs

    def examples(self) -> list[Example]:
        """The answers to imitate, and the labelled completions. Raises InputError where there are none."""
        held = self.feedback
        examples = examples_from_judgments(held.judgments, held.tasks.values(), held.episodes.values())
        if not examples:
            raise InputError(
                f"{self.path} holds {listed(self.counts())}; no demonstration, correction or label 'acceptable'."
            )
        return examples

    def unused(self, axis: str = "") -> list[str]:
        """One sentence on the judgments that :meth:`pairs` makes nothing of; none where it uses them all."""
        chosen, used = self.axis(axis), ("correction",)
        counts = self.counts()
        others = {
            w: n for w, n in counts.items() if w not in (*used, *(_on(k, chosen) for k in ("comparison", "ranking")))
        }
        if not others:
            return []
        kept = sum(n for what, n in counts.items() if what not in others)
        return [f"a reward learns from the {kept:,} comparisons on {chosen!r}; it cannot use {listed(others)}"]

    def told(self) -> list[str]:
        """Everything that a person should know about how the file was read, one sentence each."""
        told = [*self.notes, *self.assumed, *(f"left out: {what}" for what in self.left_out)]
        if self.skipped:
            told.append(
                f"{len(self.skipped):,} of {self.rows:,} rows cannot be used and are left out, the first: {self.skipped[0]}"
            )
        return told

    def warn(self, axis: str | None = None) -> None:
        """Says :meth:`told` as warnings, but for what reading the table said itself; for a reward on ``axis`` also
        :meth:`unused`."""
        for sentence in [*self.told()[len(self.notes) :], *(self.unused(axis) if axis is not None else ())]:
            warnings.warn(f"{self.name}: {sentence.rstrip('.')}.", stacklevel=3)


def read_feedback(path: str | Path, *, skip_bad_rows: bool = False, rows: str = "", read_as: str = "") -> FeedbackFile:
    """Reads feedback in any known form: from a table, a folder of shards, a dataset of the hub, or a ledger.

    ``rows`` are FIRST:END as :func:`select_rows` has it; ``read_as`` names the form of a table. Raises InputError naming
    file, row and field for a row that cannot be used; with ``skip_bad_rows`` such rows, and those with an empty answer,
    are left out and counted.
    """
    if _is_ledger(path):
        return _read_ledger(path)
    if _is_platform(read_as):
        feedback = read_platform(path, read_as)
        return FeedbackFile(str(path), read_as, len(feedback.judgments), feedback)
    table = read_rows(
        path, ("prompt", "chosen", "rejected", "completion", "label", "weight", "margin", "annotator", "messages")
    )
    held = select_rows(table, rows, Path(path).name)
    values: dict[str, Any] = {}  # every column, with the first value in it that says something, or else the first
    for name, value in (item for row in held for item in row.values.items()):
        if name not in values or (says_nothing(values[name]) and not says_nothing(value)):
            values[name] = value
    name, form = _form_of(path, values, read_as)
    source, skipped = Source(skip_silent=skip_bad_rows), []
    for row in form.prepare(held):
        try:
            _refuse_unread(row, form)
            source.take(row, form.read)
        except InputError as error:
            if not skip_bad_rows:
                raise
            skipped.append(str(error))
    if not source.feedback.judgments:
        raise InputError(f"{path}: no row can be used; the first: {skipped[0] if skipped else 'it says nothing'}")
    assumed, left = (
        tuple(f"{sentence} ({rows_shown(numbers)})" for sentence, numbers in noted.items())
        for noted in (source.assumed, source.left_out)
    )
    others = [str(n) for n in values if n not in form.columns() and n not in NOT_READ and n not in TEXTS]
    if others and name != "judgments":
        left = (f"{'column' if len(others) == 1 else 'columns'} {', '.join(others)}", *left)
    feedback = _without_orphans(source.feedback) if skipped else source.feedback
    return FeedbackFile(str(path), name, len(held), feedback, assumed, left, tuple(skipped), tuple(table.notes))


def _is_ledger(path: str | Path) -> bool:
    """Whether feedback is to be read from a ledger: a database's file or its URL."""
    return "://" in str(path) or str(path).endswith((".db", ".sqlite", ".sqlite3"))


def hash_of(path: str | Path) -> str:
    """SHA-256 of a file of feedback: of a ledger the head of its chain, of a table its bytes."""
    if not _is_ledger(path):
        return hash_table(path)
    with Ledger.open(path, read_only=True) as ledger:
        return ledger.verify().head


def select_rows(held: Sequence[T], rows: str, source: str) -> list[T]:
    """Rows ``FIRST:END`` (either may be left out), all for ""; InputError where that is not a range with rows in it.

    A range that goes beyond the file is cut, with a warning that says how many are left."""
    match = re.fullmatch(r"(\d*):(\d*)", rows or ":")
    if match is None:
        raise InputError(f"rows {rows!r} is no range; give FIRST:END, e.g. 0:900.")
    first, end = (int(group) if group else None for group in match.groups())
    chosen = list(held[first:end])
    if not chosen:
        raise InputError(f"rows {rows!r} of {source} are empty; it holds rows 0:{len(held)}.")
    if end is not None and end > len(held):
        warnings.warn(
            f"{source} holds rows 0:{len(held)}; {len(chosen)} of rows {rows} are there and are used.", stacklevel=2
        )
    return chosen


# ---------------------------------------------------------------- parts


def _read_ledger(path: str | Path) -> FeedbackFile:
    """All judgments of a ledger as they stand, of every run."""
    feedback, runs, left_out = Feedback(), 0, []
    with Ledger.open(path, read_only=True) as ledger:
        for run in ledger.runs():
            gone = [row for row in withdrawn_rows(ledger, run.id) if not row.readable]
            episodes = {row.key for row in gone if row.kind == "episode"}
            judgments, of_gone = [], 0
            for judged in ledger.judgments(run.id):
                if episodes.isdisjoint(judged.episodes):
                    judgments.append(judged)
                else:
                    of_gone += 1
            if n := of_gone + sum(row.kind == "judgment" for row in gone):
                left_out.append(f"{n:,} judgment{'s' * (n > 1)} of run {run.id}, withdrawn or on what was withdrawn")
            if not judgments:
                continue
            runs += 1
            feedback.judgments += judgments
            feedback.tasks |= {task.id: task for task in ledger.tasks(run.id)}
            feedback.episodes |= {episode.id: episode for episode in ledger.episodes(run.id)}
            feedback.annotators |= {one.id: one for one in ledger.annotators(run.id)}
    if not feedback.judgments:
        raise InputError(f"{path} holds no judgment{f' but {left_out[0]}' if left_out else ''}.")
    for judged in feedback.judgments:
        feedback.annotators.setdefault(judged.annotator, Annotator(judged.annotator, "human"))
        missing = [id for id in judged.episodes if id not in feedback.episodes]
        if missing or (judged.task not in feedback.tasks and not judged.episodes):
            raise InputError(f"{path}: judgment {judged.id} is on what the ledger does not hold.")
        for id in judged.episodes:
            feedback.tasks.setdefault(feedback.episodes[id].task.id, feedback.episodes[id].task)
    assumed = (f"the judgments of {runs:,} runs are taken together",) if runs > 1 else ()
    return FeedbackFile(str(path), "ledger", len(feedback.judgments), feedback, assumed, tuple(left_out))


def _is_platform(name: str) -> bool:
    """Whether a name, or a person's file, is that of a platform."""
    if ".py:" in name:
        own = registry.Registry[Any]("form").find(name)
        return isinstance(own, type) and issubclass(own, Platform)
    return name in registry.platform


def _form_of(path: str | Path, values: Mapping[str, Any], read_as: str) -> tuple[str, DatasetForm]:
    """The form of a table, by name. Raises InputError that names its columns and the nearest form."""
    if read_as:
        form: DatasetForm = registry.form.find(read_as)()
        if form.lacks(values):
            needs = ", ".join(need.replace("|", " or ") for need in form.lacks(values))
            raise InputError(f"{path} cannot be read as {read_as}, which needs the columns {needs}.")
        return read_as, form
    forms = {name: registry.form.find(name)() for name in registry.form.names()}
    for name, form in sorted(forms.items(), key=lambda known: known[1].rank):
        if not form.lacks(values) and form.holds(values):
            return name, form
    if ("chosen" in values) != ("rejected" in values):
        missing = "rejected" if "chosen" in values else "chosen"
        raise InputError(
            f"{path}: column {missing!r} is missing; found {', '.join(values)}, expected chosen and rejected."
        )
    share = lambda form: (len(form.needs) - len(form.lacks(values))) / len(form.needs) ** 0.5  # noqa: E731
    nearest = max(forms, key=lambda name: share(forms[name]))
    lacking = ", ".join(need.replace("|", " or ") for need in forms[nearest].lacks(values))
    raise InputError(
        f"{path}: the columns {', '.join(map(str, values)) or '(none)'} are no known form of feedback; the nearest is "
        f"{nearest!r}, which {f'also needs {lacking}' if lacking else 'holds other values in them'}."
    )


def _refuse_unread(row: TableRow, form: DatasetForm) -> None:
    for name in NOT_READ:
        if name in row.values and name not in form.columns() and not says_nothing(row.values[name]):
            raise InputError(
                f"{row.place}, field {name!r}: models here are shown text alone, and this would be lost; "
                f"take the column out, or {SKIP}."
            )


def listed(counts: Mapping[str, int]) -> str:
    """ "12 comparisons on 'overall', 1 step mark"."""
    several = {what: re.sub(r"^((?:step |span )?[a-z]+)", r"\1s", what) for what in counts}
    return ", ".join(f"{n:,} {what if n == 1 else several[what]}" for what, n in counts.items())


def _on(kind: str, axis: str) -> str:
    """ "comparison on 'overall'", "step mark"."""
    return f"{kind.replace('_', ' ')}{f' on {axis!r}' if axis else ''}"


def _without_orphans(feedback: Feedback) -> Feedback:
    """The same without tasks, episodes and annotators that no judgment is about."""
    judged = {id for judgment in feedback.judgments for id in judgment.episodes}
    tasks, people = {j.task for j in feedback.judgments}, {j.annotator for j in feedback.judgments}
    return Feedback(
        {id: task for id, task in feedback.tasks.items() if id in tasks},
        {id: episode for id, episode in feedback.episodes.items() if id in judged},
        feedback.judgments,
        {id: one for id, one in feedback.annotators.items() if id in people},
        feedback.origins,
    )
