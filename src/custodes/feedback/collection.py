"""Feedback as the nouns: tasks, episodes, judgments and annotators, gathered from files one statement at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from custodes.dialogue import Messages
from custodes.feedback.kinds.comparison import Comparison
from custodes.types import Annotator, AnnotatorKind, Episode, Example, InputError, Judgment, Message, Task

LABEL = "acceptable"
"""Name of the label that a true/false ``label`` column becomes; its values are "yes" and "no"."""

UNNAMED = "unknown"
"""Id of whoever judged where a file does not say who."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in a file a judgment stands, and what its row says besides."""

    place: str = ""
    line: int = 0
    chosen: str = ""
    """Id of the episode that the row calls chosen; "" where it names none."""
    scores: tuple[float | None, float | None] = (None, None)
    """Somebody's scores of chosen and rejected, on a scale of their own."""


@dataclass
class Feedback:
    """What people said, ready for the annotator model and the ledger."""

    tasks: dict[str, Task] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)
    judgments: list[Judgment] = field(default_factory=list)
    annotators: dict[str, Annotator] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    """Of judgments that stand in a file, by id."""

    def task(self, prompt: Messages, id: str = "") -> Task:
        """The task with this prompt. Raises InputError where ``id`` is that of another prompt."""
        id = id or f"task-{_hash(prompt)}"
        task = self.tasks.setdefault(id, Task(id, prompt))
        if task.messages != prompt:
            raise InputError(f"task {id} has two prompts; give each prompt an id of its own.")
        return task

    def episode(self, task: Task, completion: Messages, id: str = "", policy: str = "imported") -> Episode:
        """The episode of ``task`` that ends in ``completion``. Raises InputError where ``id`` is that of another one."""
        messages = task.messages + completion
        id = id or f"episode-{_hash(messages)}-{len(task.messages)}"
        if id not in self.episodes:
            self.episodes[id] = Episode.written(id, task, messages, policy)
        elif self.episodes[id].messages != messages:
            raise InputError(f"episode {id} has two texts; give each answer an id of its own.")
        return self.episodes[id]

    def annotator(self, name: str, kind: AnnotatorKind = "human") -> str:
        """The id of whoever judged: ``UNNAMED`` for ""."""
        name = name or UNNAMED
        self.annotators.setdefault(name, Annotator(name, kind, {"imported": True}))
        return name

    def add(
        self,
        kind: type[Judgment],
        prompt: Messages,
        answers: Sequence[Messages],
        *,
        id: str,
        annotator: str = "",
        by: AnnotatorKind = "human",
        origin: Origin | None = None,
        **said: Any,
    ) -> Judgment:
        """A judgment of ``kind`` on answers in the order in which they were shown; ``said`` are its own fields."""
        task = self.task(prompt)
        episodes = tuple(self.episode(task, answer).id for answer in answers)
        judgment: Judgment = kind(
            id=id, annotator=self.annotator(annotator, by), task=task.id, episodes=episodes, **said
        )
        self.judgments.append(judgment)
        if origin is not None:
            self.origins[judgment.id] = origin
        return judgment

    def add_preference(
        self,
        prompt: Messages,
        chosen: Messages,
        rejected: Messages,
        *,
        id: str,
        label: float = 1.0,
        place: str = "",
        line: int = 0,
        scores: tuple[float | None, float | None] = (None, None),
        **more: Any,
    ) -> Judgment:
        """A comparison from a file that says which answer was chosen and not which was shown first.

        The order is drawn by a hash of the two, so that "chosen" does not look like "shown first"; ``shown`` stays empty,
        and a position bias fitted to such data means nothing. ``label`` is the probability that ``chosen`` is better.
        """
        task = self.task(prompt)
        ids = [self.episode(task, completion).id for completion in (chosen, rejected)]
        turned = int(hashlib.sha256("".join(sorted(ids)).encode()).hexdigest(), 16) % 2
        first = (ids[0] < ids[1]) != bool(turned)
        strength = (1 if first else -1) * int(np.sign(label - 0.5))
        return self.add(
            Comparison,
            prompt,
            (chosen, rejected) if first else (rejected, chosen),
            id=id,
            origin=Origin(place, line, ids[0], scores),
            verdict="prefer" if strength else "tie",
            strength=strength,
            probability=None if label in (0.0, 0.5, 1.0) else label if first else 1 - label,
            **more,
        )


def text_columns(judgment: Judgment, tasks: Mapping[str, Task], episodes: Mapping[str, Episode]) -> dict[str, Any]:
    """``prompt`` and ``answers`` of a judgment as lists of messages, where they are known."""
    known = [episodes[id] for id in judgment.episodes if id in episodes]
    if len(known) < len(judgment.episodes) or not (known or judgment.task in tasks):
        return {}
    task = known[0].task if known else tasks[judgment.task]
    answers = [[m.to_dict() for m in completion_of(episode)] for episode in known]
    return {"prompt": [m.to_dict() for m in task.messages]} | ({"answers": answers} if known else {})


def completion_of(episode: Episode) -> Messages:
    """What an episode adds to its task's messages."""
    return episode.messages[len(episode.task.messages) :]


def judged_episode(episodes: Mapping[str, Episode], id_: str) -> Episode:
    """The episode with this id. Raises InputError where there is none."""
    if id_ not in episodes:
        raise InputError(f"judged episode {id_} is not among the {len(episodes):,} episodes given.")
    return episodes[id_]


def imitated(judgment: Judgment, text: str, tasks: Mapping[str, Task]) -> Example:
    """The answer ``text`` to a judgment's task, to be imitated. Raises InputError for an unknown task."""
    if judgment.task not in tasks:
        raise InputError(f"judgment {judgment.id} is on task {judgment.task}, which is not among the tasks.")
    answer = (Message("assistant", text),)
    return Example(tasks[judgment.task].messages, answer, annotator=judgment.annotator)


def _hash(messages: Messages) -> str:
    digest = hashlib.sha256()
    for message in messages:
        digest.update(f"{message.role}\0{len(message.content)}\0{message.content}\0".encode())
    return digest.hexdigest()[:24]
