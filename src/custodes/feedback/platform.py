"""What an annotation platform is: its records, each one item with everybody's answers, are read and written.

Every kind of judgment has a place on each platform. What a platform cannot hold (strength, order, time, help) stands
beside each answer in its metadata. It comes back from there as long as the answer itself is as it was written, so an
export that is imported again is the same judgments under the same ids. Files that others made are read by
:mod:`custodes.feedback.platform_answers`.

A platform is one file: a class derived from :class:`Platform`, marked with :data:`custodes.registry.platform`. Ours are in
:mod:`custodes.feedback.platforms`; one of your own is ``--read-as FILE.py:Name``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from custodes import registry
from custodes.dialogue import Messages, as_completion, as_prompt, text_or_messages
from custodes.feedback.collection import Feedback, completion_of
from custodes.feedback.platform_answers import Answered, Scales, judgments_from
from custodes.feedback.records import read_judgment
from custodes.tables import TableRow, read_rows
from custodes.types import Annotator, Episode, InputError, Judgment, Message, Task

OWN = "custodes"
"""Name of the metadata that hold what a platform cannot."""
PROMPTS = ("prompt", "instruction", "question", "input", "messages", "conversation", "chat")
ANSWERS = re.compile(r"(?:response|answer|completion|generation|output)[ _-]*([1-9]|[a-d])?", re.IGNORECASE)


class Platform:
    """One platform: records in and out, as its JSON has them."""

    file: ClassVar[str] = "records.json"
    """What an export is called."""

    def write(self, items: Sequence[PlatformItem]) -> list[dict[str, Any]]:
        """One record an item."""
        raise NotImplementedError

    def read(self, records: Sequence[Mapping[str, Any]], reader: PlatformReader) -> None:
        """Hands every answer of the records to ``reader``. Raises InputError naming record and question."""
        raise NotImplementedError


def platform_records(
    name: str,
    judgments: Iterable[Judgment],
    episodes: Mapping[str, Episode],
    tasks: Mapping[str, Task] | None = None,
) -> list[dict[str, Any]]:
    """The records of a platform with everybody's judgments; ``tasks`` are those of demonstrations, which show no episode."""
    items: dict[tuple[str, ...], PlatformItem] = {}
    for judgment in judgments:
        key = tuple(sorted(judgment.episodes))
        if not key and judgment.task not in (tasks or {}):
            continue  # a demonstration of which nobody gave the task
        task = episodes[key[0]].task if key else (tasks or {})[judgment.task]
        item = items.setdefault((task.id, *key), PlatformItem(task, [episodes[id_] for id_ in key]))
        question, value = judgment.on_platform(key)
        item.answers.setdefault((judgment.annotator, question), []).append((judgment, value))
    written: list[dict[str, Any]] = registry.platform.find(name)().write(list(items.values()))
    return written


def read_platform(path: str | Path, name: str) -> Feedback:
    """Reads a platform's JSON file. Raises InputError where it is not one, naming the file."""
    platform: Platform = registry.platform.find(name)()
    reader = PlatformReader()
    try:
        platform.read([row.values for row in read_rows(path)], reader)
        return reader.feedback_read()
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path} is not what {name} writes: {error!r}.") from None


# ---------------------------------------------------------------- out


@dataclass
class PlatformItem:
    """What stands together: a task, the episodes shown in an order of their own, and everybody's answers about them."""

    task: Task
    shown: list[Episode]
    answers: dict[tuple[str, str], list[tuple[Judgment, Any]]] = field(default_factory=dict)
    """(annotator, question) -> judgments, each with its value on a platform."""

    @property
    def prompt(self) -> str:
        """A single question as it is; a conversation as a dialogue."""
        return _dialogue(self.task.messages)

    def texts(self) -> dict[str, Any]:
        """The task's and the episodes' ids; their messages, where the fields alone do not say them."""
        known: dict[str, Any] = {"task": self.task.id, "episodes": [e.id for e in self.shown]}
        plain = as_prompt(self.prompt) == self.task.messages
        if not plain or any(completion_of(e) != as_completion(e.completion) for e in self.shown):
            known["prompt"] = [m.to_dict() for m in self.task.messages]
            known["answers"] = [[m.to_dict() for m in completion_of(e)] for e in self.shown]
        return known


def _dialogue(messages: Messages) -> str:
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names.get(m.role, m.role.title())}: {m.content}" for m in messages)


# ---------------------------------------------------------------- in


@dataclass
class PlatformReader:
    """A file as it is read. What was exported here is there again; all else is interpreted once all of it was seen."""

    feedback: Feedback = field(default_factory=Feedback)
    scales: Scales = field(default_factory=Scales)
    foreign: list[tuple[Answered, Task, list[Episode]]] = field(default_factory=list)

    def take(self, given: Answered, task: Task, shown: list[Episode]) -> None:
        """An answer that was given on the platform."""
        self.scales.see(given)
        self.foreign.append((given, task, shown))

    def restore(self, rows: Iterable[Mapping[str, Any]], where: str, task: Task) -> None:
        """Judgments that were exported from here, each as a row. Raises InputError for one that is not on ``task``."""
        for row in rows:
            judgment = read_judgment(TableRow(Path(where), 0, dict(row)))
            unknown = [id_ for id_ in judgment.episodes if id_ not in self.feedback.episodes]
            if unknown or judgment.task != task.id:
                raise InputError(f"{where}: judgment {judgment.id} is on an episode that the record has not.")
            self.feedback.annotators.setdefault(judgment.annotator, Annotator(judgment.annotator, "human"))
            self.feedback.judgments.append(judgment)

    def shown(
        self, fields: Mapping[str, Any], answer: str, own: Mapping[str, Any], where: str
    ) -> tuple[Task, list[Episode]]:
        """The task and the episodes of a record, in the order of their fields' numbers.

        A field is text or a list of messages. ``answer`` is what the platform calls one; ``own`` are our metadata. Raises
        InputError where there is no prompt or no answer.
        """
        name = next((name for name in PROMPTS if isinstance(fields.get(name), str | list)), None)
        named = {key: match[1] or "1" for key in fields if (match := ANSWERS.fullmatch(key))}
        answers = {
            key: fields[key] for key in sorted(named, key=named.__getitem__) if isinstance(fields[key], str | list)
        }
        demonstrates = own and not own.get("episodes")
        if name is None or (not answers and not demonstrates):
            known = ", ".join(map(str, fields))
            raise InputError(f"{where}: it needs prompt and {answer}1 as text or as a list of messages; found {known}.")
        prompt = as_prompt(_messages(fields[name], f"{where}, field {name!r}"))
        completions = [as_completion(_messages(text, f"{where}, field {key!r}")) for key, text in answers.items()]
        if own.get("prompt") is not None and _unchanged(own, fields[name], list(answers.values())):
            prompt = as_prompt(_messages(own["prompt"], where))
            completions = [as_completion(_messages(one, where)) for one in own["answers"]]
        task, ids = self.feedback.task(prompt, own.get("task") or ""), own.get("episodes") or []
        if len(ids) != len(completions):
            ids = [""] * len(completions)
        return task, [self.feedback.episode(task, one, id_) for one, id_ in zip(completions, ids, strict=True)]

    def feedback_read(self) -> Feedback:
        """Everything that was taken. Raises InputError for an answer that can be read in two ways, or in none."""
        seen: dict[str, int] = {}
        for given, task, shown in self.foreign:
            seen[given.id] = seen.get(given.id, 0) + 1
            if seen[given.id] > 1:
                given.id = f"{given.id}-again{seen[given.id]}"
            self.feedback.judgments += judgments_from(given, task, shown, self.feedback, self.scales)
        return self.feedback


def _unchanged(own: Mapping[str, Any], prompt: Any, texts: Sequence[Any]) -> bool:
    """Whether the fields still say what stands beside them as messages."""
    messages = tuple(Message(m["role"], m["content"]) for m in own["prompt"])
    last = [next((m["content"] for m in reversed(some) if m["role"] == "assistant"), "") for some in own["answers"]]
    return bool(_dialogue(messages) == prompt and last == list(texts))


def _messages(given: Any, where: str) -> str | Messages:
    if isinstance(given, list):
        given = [{"role": m.get("author"), **m} if isinstance(m, dict) and "author" in m else m for m in given]
    try:
        return text_or_messages(given)
    except ValueError as error:
        raise InputError(f"{where}: {error}.") from None


def kept_in(text: Any) -> dict[str, Any]:
    """The object that metadata keep as JSON; empty where they hold none."""
    try:
        kept = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def record_part(record: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """An object of a record. Raises InputError where it is missing."""
    if not isinstance(record.get(name), Mapping):
        raise InputError(f"{where}: {name!r} is missing; found {', '.join(map(str, record))}.")
    part: Mapping[str, Any] = record[name]
    return part
