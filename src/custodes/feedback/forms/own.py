"""What this project writes itself: judgments with the texts that were judged, and ledgers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from custodes.dialogue import Messages, text_or_messages
from custodes.feedback.collection import Feedback, Origin
from custodes.feedback.forms.source import SKIP, Source, items, value
from custodes.feedback.records import read_judgment
from custodes.ledger import Ledger
from custodes.tables import Row, hash_table
from custodes.types import Annotator, InputError

LEDGERS = (".db", ".sqlite", ".sqlite3")


def judgment(row: Row, source: Source) -> None:
    """A judgment as ``write_judgments`` writes it, with ``prompt`` and ``answers``."""
    held = Row(row.path, row.number, {k: value(row, k) for k in row.values})
    said = read_judgment(held)
    kind = row.values.get("annotator_kind", "human")
    if "prompt" not in row.values or (said.episodes and "answers" not in row.values):  # ids only
        source.take(lambda feedback: _taken(feedback, said, (), [], kind, Origin(row.place, row.number)))
        return
    prompt = _messages(row, "prompt", value(row, "prompt"))
    answers = [_messages(row, "answers", one) for one in items(held, "answers")] if said.episodes else []
    if len(answers) != len(said.episodes):
        raise InputError(f"{row.place}, field 'answers': {len(answers)} of {len(said.episodes)} episodes ({SKIP}).")
    source.take(lambda feedback: _taken(feedback, said, prompt, answers, kind, Origin(row.place, row.number)))


def _taken(feedback: Feedback, said: Any, prompt: Messages, answers: list[Messages], kind: Any, origin: Origin) -> None:
    if prompt or answers:
        task = feedback.task(prompt, said.task)
        for id, one in zip(said.episodes, answers, strict=True):
            feedback.episode(task, one, id)
    feedback.annotator(said.annotator, kind)
    feedback.judgments.append(said)
    feedback.origins[said.id] = origin


def _messages(row: Row, name: str, given: object) -> Messages:
    try:
        found = text_or_messages(given)
    except ValueError as error:
        raise InputError(f"{row.place}, field {name!r}: {error} ({SKIP}).") from None
    if isinstance(found, str):
        raise InputError(f"{row.place}, field {name!r}: found text; it should be a list of messages ({SKIP}).")
    return found


def is_ledger(path: str | Path) -> bool:
    """Whether feedback is to be read from a ledger: a database's file or its URL."""
    return "://" in str(path) or str(path).endswith(LEDGERS)


def hash_of(path: str | Path) -> str:
    """SHA-256 of a file of feedback: of a ledger the head of its chain, of a table its bytes."""
    if not is_ledger(path):
        return hash_table(path)
    with Ledger.open(path, read_only=True) as opened:
        return opened.verify().head


def ledger(where: str | Path) -> tuple[Feedback, int]:
    """All judgments of a ledger as they stand, of every run, and how many runs have some."""
    feedback, runs = Feedback(), 0
    with Ledger.open(where, read_only=True) as opened:
        for run in opened.runs():
            judgments = list(opened.judgments(run.id))
            if not judgments:
                continue
            runs += 1
            feedback.judgments += judgments
            feedback.tasks |= {task.id: task for task in opened.tasks(run.id)}
            feedback.episodes |= {episode.id: episode for episode in opened.episodes(run.id)}
            feedback.annotators |= {one.id: one for one in opened.annotators(run.id)}
    for judged in feedback.judgments:
        feedback.annotators.setdefault(judged.annotator, Annotator(judged.annotator, "human"))
        missing = [id for id in judged.episodes if id not in feedback.episodes]
        if missing or (judged.task not in feedback.tasks and not judged.episodes):
            raise InputError(f"{where}: judgment {judged.id} is on what the ledger does not hold.")
        for id in judged.episodes:
            feedback.tasks.setdefault(feedback.episodes[id].task.id, feedback.episodes[id].task)
    return feedback, runs
