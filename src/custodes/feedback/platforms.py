"""Annotation platforms' own forms: records of Argilla, tasks of Label Studio; each one item with everybody's answers.

Every kind of judgment has a place in both. What a form cannot hold (strength, order, time, help) stands beside each answer
in its metadata, and comes back from there as long as the answer itself is as it was written; so an export that is
imported again is the same judgments under the same ids. Files that others made are read by
:mod:`custodes.feedback.platform_answers`. Argilla knows people by a UUID: ours is made from the annotator's id.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custodes.dialogue import Messages, as_completion, as_prompt, text_or_messages
from custodes.feedback.collection import Feedback, completion_of
from custodes.feedback.platform_answers import Answered, Scales, judgments_from
from custodes.feedback.records import judgment_row, read_judgment
from custodes.tables import Row, read_rows
from custodes.types import Annotator, Episode, InputError, Judgment, Message, Task

OWN = "custodes"
"""Where what a form cannot hold is kept: in Argilla's and Label Studio's metadata."""
SIDES = {"response1": "left", "response2": "right"}


# ---------------------------------------------------------------- out


def to_argilla(
    judgments: Iterable[Judgment], episodes: Mapping[str, Episode], tasks: Mapping[str, Task] | None = None
) -> list[dict[str, Any]]:
    """One record per item: fields prompt, response1, response2, ...; responses by question, by annotator.

    ``tasks`` are needed for demonstrations, which show no episode.
    """
    records = []
    for item in _items_of(judgments, episodes, tasks):
        responses: dict[str, list[dict[str, Any]]] = {}
        metadata = {OWN: json.dumps(item.texts())}
        for (annotator, question), told in item.told.items():
            user = str(uuid.uuid5(uuid.NAMESPACE_URL, f"custodes:{annotator}"))
            values = [value for _, value in told]
            held = [[one for value in values for one in value]] if isinstance(values[0], list) else values
            responses.setdefault(question, []).extend({"value": value, "user_id": user} for value in held)
            metadata[f"{question}/{user}"] = json.dumps({"values": held, "rows": [judgment_row(j) for j, _ in told]})
        fields = {"prompt": _text(item.task.messages)}
        fields |= {f"response{n}": episode.completion for n, episode in enumerate(item.shown, 1)}
        records.append(
            {
                "id": "|".join(episode.id for episode in item.shown) or item.task.id,
                "fields": fields,
                "metadata": metadata,
                "suggestions": {},
                "responses": responses,
                "vectors": {},
                "status": "completed",
            }
        )
    return records


def to_label_studio(
    judgments: Iterable[Judgment], episodes: Mapping[str, Episode], tasks: Mapping[str, Task] | None = None
) -> list[dict[str, Any]]:
    """One task per item: data prompt, answer1, answer2, ...; one annotation per annotator with all their results."""
    found = []
    for n, item in enumerate(_items_of(judgments, episodes, tasks), 1):
        data = {"prompt": _text(item.task.messages), "episodes": [e.id for e in item.shown], OWN: item.texts()}
        data |= {f"answer{place}": episode.completion for place, episode in enumerate(item.shown, 1)}
        annotations: dict[str, dict[str, Any]] = {}
        for (annotator, question), told in item.told.items():
            for judgment, value in told:
                own = annotations.setdefault(
                    annotator, {"completed_by": annotator, "result": [], "lead_time": judgment.seconds}
                )
                own["result"].append(_result(judgment, question, value, len(item.shown)))
        found.append({"id": n, "data": data, "annotations": list(annotations.values())})
    return found


def _result(judgment: Judgment, question: str, value: Any, shown: int) -> dict[str, Any]:
    to = ",".join(f"answer{n}" for n in range(1, shown + 1)) if shown else "prompt"
    made: dict[str, Any] = {"type": "choices", "value": {"choices": [value]}}
    if judgment.form == "pair" and value in SIDES:
        made = {"type": "pairwise", "value": {"selected": SIDES[value]}}
    elif judgment.form == "number":
        made = {"type": "rating", "value": {"rating": value}}
    elif judgment.form == "spans":
        (mark,) = value
        made = {"type": "labels", "value": {"start": mark["start"], "end": mark["end"], "labels": [mark["label"]]}}
    elif judgment.form == "ranks":
        order = sorted(value, key=lambda one: one["rank"])
        made = {"type": "ranker", "value": {"ranker": {"rank": [one["value"] for one in order]}}}
    elif judgment.form == "text":
        made = {"type": "textarea", "value": {"text": [value]}}
    meta = {OWN: [json.dumps({"value": made["value"], "row": judgment_row(judgment)})]}
    return {"from_name": question, "to_name": to, **made, "meta": meta}


@dataclass
class _Item:
    """What stands together: a task, the episodes shown in an order of their own, and who said what about them."""

    task: Task
    shown: list[Episode]
    told: dict[tuple[str, str], list[tuple[Judgment, Any]]] = field(default_factory=dict)

    def texts(self) -> dict[str, Any]:
        """The task's and the episodes' ids; their messages, where the fields alone do not say them."""
        known: dict[str, Any] = {"task": self.task.id, "episodes": [e.id for e in self.shown]}
        plain = as_prompt(_text(self.task.messages)) == self.task.messages
        if not plain or any(completion_of(e) != as_completion(e.completion) for e in self.shown):
            known["prompt"] = [m.to_dict() for m in self.task.messages]
            known["answers"] = [[m.to_dict() for m in completion_of(e)] for e in self.shown]
        return known


def _items_of(
    judgments: Iterable[Judgment], episodes: Mapping[str, Episode], tasks: Mapping[str, Task] | None
) -> list[_Item]:
    items: dict[tuple[str, ...], _Item] = {}
    for judgment in judgments:
        key = tuple(sorted(judgment.episodes))
        if not key and judgment.task not in (tasks or {}):
            continue  # a demonstration of which nobody gave the task
        task = episodes[key[0]].task if key else (tasks or {})[judgment.task]
        item = items.setdefault((task.id, *key), _Item(task, [episodes[id_] for id_ in key]))
        question, value = judgment.on_platform(key)
        item.told.setdefault((judgment.annotator, question), []).append((judgment, value))
    return list(items.values())


def _text(messages: tuple[Message, ...]) -> str:
    """A single question as it is; a conversation as a dialogue."""
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names.get(m.role, m.role.title())}: {m.content}" for m in messages)


# ---------------------------------------------------------------- in


@dataclass
class _Read:
    """A file as it is read: what was exported here is there again, all else is interpreted once all of it was seen."""

    feedback: Feedback = field(default_factory=Feedback)
    scales: Scales = field(default_factory=Scales)
    foreign: list[tuple[Answered, Task, list[Episode]]] = field(default_factory=list)

    def take(self, given: Answered, task: Task, shown: list[Episode]) -> None:
        self.scales.see(given)
        self.foreign.append((given, task, shown))

    def restore(self, rows: Iterable[Mapping[str, Any]], where: str, task: Task) -> None:
        for row in rows:
            judgment = read_judgment(Row(Path(where), 0, dict(row)))
            unknown = [id_ for id_ in judgment.episodes if id_ not in self.feedback.episodes]
            if unknown or judgment.task != task.id:
                raise InputError(f"{where}: judgment {judgment.id} is on an episode that the record has not.")
            self.feedback.annotators.setdefault(judgment.annotator, Annotator(judgment.annotator, "human"))
            self.feedback.judgments.append(judgment)

    def end(self) -> Feedback:
        seen: dict[str, int] = {}
        for given, task, shown in self.foreign:
            seen[given.id] = seen.get(given.id, 0) + 1
            if seen[given.id] > 1:
                given.id = f"{given.id}-again{seen[given.id]}"
            self.feedback.judgments += judgments_from(given, task, shown, self.feedback, self.scales)
        return self.feedback


def from_argilla(records: Iterable[Mapping[str, Any]]) -> Feedback:
    """Judgments from Argilla's records. Raises InputError naming record and question."""
    read = _Read()
    for n, record in enumerate(records, 1):
        where = f"record {n}"
        metadata = record.get("metadata") or {}
        own = _json(metadata.get(OWN))
        task, shown = _shown(read.feedback, _part(record, "fields", where), "response", own, where)
        for question, responses in _part(record, "responses", where).items():
            by_user: dict[str, list[Any]] = {}
            for response in responses:
                if response.get("status") not in ("draft", "discarded"):
                    by_user.setdefault(str(response.get("user_id") or ""), []).append(response["value"])
            for user, values in by_user.items():
                kept = _json(metadata.get(f"{question}/{user}"))
                if own and kept.get("values") == values:
                    read.restore(kept["rows"], where, task)
                    continue
                who = str((kept.get("rows") or [{}])[0].get("annotator") or user)
                for value in values:
                    form, plain = _argilla_value(value, f"{where}, question {question!r}")
                    id_ = f"argilla-{n}-{question}-{who}"
                    given = Answered(f"{where}, question {question!r}", id_, question, form, plain, who)
                    read.take(given, task, shown)
    return read.end()


def _argilla_value(value: Any, where: str) -> tuple[str, Any]:
    """(form, plain value) of a response; what it is, its shape says."""
    if isinstance(value, list):
        if all(isinstance(one, str) for one in value):
            return "choices", value
        if all(isinstance(one, Mapping) and "rank" in one for one in value):
            return "ranks", [(one.get("value"), one["rank"]) for one in value]
        if all(isinstance(one, Mapping) and {"start", "end", "label"} <= one.keys() for one in value):
            return "spans", [(one["start"], one["end"], str(one["label"]), one.get("text")) for one in value]
    elif isinstance(value, bool) or not isinstance(value, int | float):
        if isinstance(value, str):
            return "text", value
    else:
        return "number", value
    raise InputError(f"{where}: {str(value)[:60]!r} is no answer that is read (text, number, choices, ranks or spans).")


def from_label_studio(tasks: Iterable[Mapping[str, Any]]) -> Feedback:
    """Judgments from Label Studio's export (JSON). Raises InputError naming task and control."""
    read = _Read()
    for n, held in enumerate(tasks, 1):
        where = f"task {n}"
        data = _part(held, "data", where)
        own = data.get(OWN) if isinstance(data.get(OWN), Mapping) else {}
        task, shown = _shown(read.feedback, data, "answer", own or {}, where)
        for annotation in held.get("annotations", []):
            if annotation.get("was_cancelled"):
                continue
            by = annotation.get("completed_by")
            who = str(by.get("email") or by.get("id")) if isinstance(by, dict) else str(by or "")
            for result in annotation.get("result", []):
                name, value = str(result.get("from_name", "")), result.get("value", {})
                kept = _json(((result.get("meta") or {}).get(OWN) or [None])[0])
                if own and kept.get("value") == value:
                    read.restore([kept["row"]], where, task)
                    continue
                place = f"{where}, control {name!r}"
                form, plain = _label_studio_value(result, data, place)
                about = {"seconds": annotation.get("lead_time")}
                given = Answered(place, f"label-studio-{n}-{name}-{who}", name, form, plain, who, about)
                one = re.fullmatch(r"\D*([1-9])", str(result.get("to_name", "")))
                given.response = int(one[1]) - 1 if one else None  # several, or the prompt
                read.take(given, task, shown)
    return read.end()


def _label_studio_value(result: Mapping[str, Any], data: Mapping[str, Any], where: str) -> tuple[str, Any]:
    """(form, plain value) of a result, by its type."""
    value, kind = result.get("value") or {}, result.get("type")
    if kind == "pairwise" and value.get("selected") in ("left", "right"):
        return "pair", value["selected"]
    if kind in ("rating", "number") and isinstance(value.get(kind), int | float):
        return "number", value[kind]
    if kind == "choices" and isinstance(value.get("choices"), list) and value["choices"]:
        return "choices", [str(one) for one in value["choices"]]
    if kind == "textarea" and value.get("text"):
        text = value["text"]
        return "text", "\n".join(text) if isinstance(text, list) else str(text)
    if kind in ("labels", "hypertextlabels") and value.get("labels"):
        return "spans", [(value["start"], value["end"], str(label), value.get("text")) for label in value["labels"]]
    if kind == "ranker" and isinstance((value.get("ranker") or {}).get("rank"), list):
        return "ranks", [(name, rank) for rank, name in enumerate(value["ranker"]["rank"], 1)]
    raise InputError(
        f"{where}: a result of type {kind!r} is not read; take it out of the file, or ask for it to be read."
    )


READERS = {"argilla": from_argilla, "label-studio": from_label_studio}


def read_platform(path: str | Path, form: str) -> Feedback:
    """Reads a platform's JSON file. Raises InputError where it is not one, naming the file."""
    if form not in READERS:
        raise InputError(f"form {form!r} is unknown; choose from {', '.join(READERS)}.")
    rows = [row.values for row in read_rows(path)]
    try:
        return READERS[form](rows)
    except InputError as error:
        raise InputError(f"{path}, {error}") from None
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path} is not what {form} writes: {error!r}.") from None


PROMPTS = ("prompt", "instruction", "question", "input", "messages", "conversation", "chat")
ANSWERS = re.compile(r"(?:response|answer|completion|generation|output)[ _-]*([1-9]|[a-d])?", re.IGNORECASE)


def _shown(
    feedback: Feedback, fields: Mapping[str, Any], answer: str, own: Mapping[str, Any], where: str
) -> tuple[Task, list[Episode]]:
    """The task and the episodes of a record, in the order of their fields' numbers; a chat prompt is a list of messages."""
    name = next((name for name in PROMPTS if isinstance(fields.get(name), str | list)), None)
    named = {key: found[1] or "1" for key in fields if (found := ANSWERS.fullmatch(key))}
    answers = {key: fields[key] for key in sorted(named, key=named.__getitem__) if isinstance(fields[key], str | list)}
    demonstrates = own and not own.get("episodes")
    if name is None or (not answers and not demonstrates):
        known = ", ".join(map(str, fields))
        raise InputError(f"{where}: it needs prompt and {answer}1 as text or as a list of messages; found {known}.")
    prompt = as_prompt(_messages(fields[name], f"{where}, field {name!r}"))
    completions = [as_completion(_messages(text, f"{where}, field {key!r}")) for key, text in answers.items()]
    ids = own.get("episodes") or []
    if own.get("prompt") is not None and _unchanged(own, fields[name], list(answers.values())):
        prompt = as_prompt(_messages(own["prompt"], where))
        completions = [as_completion(_messages(one, where)) for one in own["answers"]]
    task = feedback.task(prompt, own.get("task") or "")
    if len(ids) != len(completions):
        ids = [""] * len(completions)
    return task, [feedback.episode(task, one, id_) for one, id_ in zip(completions, ids, strict=True)]


def _unchanged(own: Mapping[str, Any], prompt: Any, texts: Sequence[Any]) -> bool:
    """Whether the fields still say what stands beside them as messages."""
    messages = tuple(Message(m["role"], m["content"]) for m in own["prompt"])
    last = [next((m["content"] for m in reversed(some) if m["role"] == "assistant"), "") for some in own["answers"]]
    return bool(_text(messages) == prompt and last == list(texts))


def _messages(given: Any, where: str) -> str | Messages:
    if isinstance(given, list):
        given = [{"role": m.get("author"), **m} if isinstance(m, dict) and "author" in m else m for m in given]
    try:
        return text_or_messages(given)
    except ValueError as error:
        raise InputError(f"{where}: {error}.") from None


def _json(text: Any) -> Any:
    """What was kept in a text; empty where it is none."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _part(row: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(row.get(name), Mapping):
        raise InputError(f"{where}: {name!r} is missing; found {', '.join(map(str, row))}.")
    part: Mapping[str, Any] = row[name]
    return part
