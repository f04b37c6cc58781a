"""Annotation platforms' own forms: records of Argilla, tasks of Label Studio; each one item with everybody's answers.

Comparisons become Argilla's question "preference" and Label Studio's pairwise control "preference"; ratings and labels
become questions named after their axis or name. What a form cannot hold (strength, order, time) goes into the
metadata and comes back from there. Read are also Argilla's rankings of two responses and Label Studio's pairwise controls of
any name. Argilla knows people by a UUID: ours is made from the annotator's id, which stands in the metadata.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from custodes.dialogue import as_completion, as_prompt
from custodes.feedback.collection import Feedback
from custodes.types import Comparison, Episode, InputError, Judgment, Label, Message, Rating

TIE = "tie"


def to_argilla(judgments: Iterable[Judgment], episodes: Mapping[str, Episode]) -> list[dict[str, Any]]:
    """One record per item: fields prompt, response1, response2; responses by question, one per annotator."""
    records: dict[tuple[str, ...], dict[str, Any]] = {}
    for judgment in judgments:
        key, question, value = _told(judgment)
        if key is None:
            continue
        shown = [episodes[id_] for id_ in key]
        record = records.setdefault(
            key,
            {
                "id": "|".join(key),
                "fields": {
                    "prompt": _text(shown[0].task.messages),
                    **{f"response{n}": episode.completion for n, episode in enumerate(shown, 1)},
                },
                "metadata": {},
                "suggestions": {},
                "responses": {},
                "vectors": {},
                "status": "completed",
            },
        )
        said = {"first": "response1", "second": "response2", TIE: TIE}.get(value, value) if len(key) == 2 else value
        user = str(uuid.uuid5(uuid.NAMESPACE_URL, f"custodes:{judgment.annotator}"))
        record["responses"].setdefault(question, []).append({"value": said, "user_id": user})
        told = {
            "annotator": judgment.annotator,
            "seconds": judgment.seconds,
            "guideline": judgment.guideline,
            "shown": judgment.shown,
        }
        if isinstance(judgment, Comparison):
            told |= {"strength": judgment.strength, "first": judgment.episodes[0], "verdict": judgment.verdict}
        record["metadata"][f"{question}/{user}"] = json.dumps(told)
    return list(records.values())


def to_label_studio(judgments: Iterable[Judgment], episodes: Mapping[str, Episode]) -> list[dict[str, Any]]:
    """One task per item: data prompt, answer1, answer2; one annotation per annotator with all their results."""
    tasks: dict[tuple[str, ...], dict[str, Any]] = {}
    for judgment in judgments:
        key, question, value = _told(judgment)
        if key is None:
            continue
        shown = [episodes[id_] for id_ in key]
        data = {"prompt": _text(shown[0].task.messages), "episodes": list(key)}
        data |= {f"answer{n}": episode.completion for n, episode in enumerate(shown, 1)}
        task = tasks.setdefault(key, {"data": data, "annotations": {}})
        own = task["annotations"].setdefault(
            judgment.annotator, {"completed_by": judgment.annotator, "result": [], "lead_time": judgment.seconds}
        )
        result: dict[str, Any] = {"from_name": question, "to_name": "answer1,answer2" if len(key) == 2 else "answer1"}
        if len(key) == 2 and value != TIE:
            result |= {"type": "pairwise", "value": {"selected": "left" if value == "first" else "right"}}
        elif isinstance(judgment, Rating):
            result |= {"type": "rating", "value": {"rating": value}}
        else:
            result |= {"type": "choices", "value": {"choices": [value]}}
        if isinstance(judgment, Comparison):
            result["meta"] = {"strength": [str(judgment.strength)], "first": [judgment.episodes[0]]}
        own["result"].append(result)
    return [
        {"id": n, "data": task["data"], "annotations": list(task["annotations"].values())}
        for n, task in enumerate(tasks.values(), 1)
    ]


def from_argilla(records: Iterable[Mapping[str, Any]]) -> Feedback:
    """Judgments from Argilla's records with the fields prompt and response1, response2. Raises InputError by record."""
    feedback = Feedback()
    for n, record in enumerate(records, 1):
        fields = _part(record, "fields", f"record {n}")
        episodes = _imported(feedback, fields, "response", f"record {n}")
        for question, responses in _part(record, "responses", f"record {n}").items():
            for response in responses:
                user = str(response.get("user_id") or "")
                told = json.loads((record.get("metadata") or {}).get(f"{question}/{user}", "{}"))
                who = feedback.annotator(told.get("annotator") or user)
                value = _answered(response["value"])
                if isinstance(response["value"], list) and value is not None:
                    question = "preference"
                id_ = f"argilla-{n}-{question}-{who}"
                feedback.judgments += _judgments(id_, question, value, who, episodes, told.get("strength"), told)
    return feedback


def from_label_studio(tasks: Iterable[Mapping[str, Any]]) -> Feedback:
    """Judgments from Label Studio's export (JSON) with the data prompt, answer1, answer2. Raises InputError by task."""
    feedback = Feedback()
    for n, task in enumerate(tasks, 1):
        episodes = _imported(feedback, _part(task, "data", f"task {n}"), "answer", f"task {n}")
        for annotation in task.get("annotations", []):
            if annotation.get("was_cancelled"):
                continue
            by = annotation.get("completed_by")
            who = feedback.annotator(str(by.get("email") or by.get("id")) if isinstance(by, dict) else str(by or ""))
            for result in annotation.get("result", []):
                value, question = result.get("value", {}), str(result.get("from_name", ""))
                if result.get("type") == "pairwise" and not question.startswith("preference"):
                    question = "preference"
                said: Any = {"left": "first", "right": "second"}.get(value.get("selected", ""))
                said = said or value.get("rating") or (value.get("choices") or [None])[0]
                strength = (result.get("meta", {}).get("strength") or [None])[0]
                told = {
                    "seconds": annotation.get("lead_time"),
                    "first": (result.get("meta", {}).get("first") or [""])[0],
                }
                id_ = f"label-studio-{n}-{question}-{who}"
                feedback.judgments += _judgments(id_, question, said, who, episodes, strength, told)
    return feedback


def _answered(value: Any) -> Any:
    """What an Argilla response says: a ranking of two says which is first; None for one of more."""
    if isinstance(value, list):
        ranks = {str(one.get("value")): int(one.get("rank", 0)) for one in value if isinstance(one, dict)}
        if set(ranks) != {"response1", "response2"}:
            return None
        one, other = ranks["response1"], ranks["response2"]
        return TIE if one == other else "first" if one < other else "second"
    return {"response1": "first", "response2": "second"}.get(value, value)


def read_platform(path: str | Path, form: str) -> Feedback:
    """Reads a platform's JSON file. Raises InputError where it is not one."""
    path = Path(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: it should hold a list of records.")
    readers = {"argilla": from_argilla, "label-studio": from_label_studio}
    if form not in readers:
        raise InputError(f"form {form!r} is unknown; choose from {', '.join(readers)}.")
    try:
        return readers[form](rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not what {form} writes: {error!r}.") from None


def _told(judgment: Judgment) -> tuple[tuple[str, ...] | None, str, Any]:
    """(episodes in a fixed order, question, value) of what these forms can hold; None for other kinds."""
    if isinstance(judgment, Comparison) and judgment.verdict != "cannot_judge":
        one, other = judgment.episodes
        turned = -1 if other < one else 1
        way = judgment.strength * turned
        question = "preference" if judgment.axis == "overall" else f"preference-{judgment.axis}"
        return (min(one, other), max(one, other)), question, "first" if way > 0 else "second" if way < 0 else TIE
    if isinstance(judgment, Rating):
        return judgment.episodes, f"rating-{judgment.axis}", judgment.value
    if isinstance(judgment, Label):
        return judgment.episodes, judgment.name, judgment.value
    return None, "", None


def _judgments(
    id_: str, question: str, value: Any, who: str, episodes: list[Episode], strength: Any, told: Mapping[str, Any]
) -> list[Judgment]:
    about: dict[str, Any] = {"id": id_, "annotator": who, "task": episodes[0].task.id, "seconds": told.get("seconds")}
    about["guideline"] = told.get("guideline") or ""
    if question.startswith("preference") and len(episodes) == 2:
        size = abs(int(strength)) if strength else 1
        way = {"first": size, "second": -size}.get(value, 0)
        shown = (episodes[0].id, episodes[1].id)
        verdict = "prefer" if way else "tie"
        axis = question.removeprefix("preference").removeprefix("-") or "overall"
        return [Comparison(**about, episodes=shown, verdict=verdict, strength=way, axis=axis)]  # type: ignore[arg-type]
    if value is None:
        return []
    if isinstance(value, int) and question.startswith("rating"):
        axis = question.removeprefix("rating").removeprefix("-") or "overall"
        return [Rating(**about, episodes=(episodes[0].id,), value=value, axis=axis)]
    return [Label(**about, episodes=(episodes[0].id,), name=question, value=str(value))]


def _imported(feedback: Feedback, fields: Mapping[str, Any], answer: str, where: str) -> list[Episode]:
    texts = [fields[name] for name in (f"{answer}1", f"{answer}2") if isinstance(fields.get(name), str)]
    if not isinstance(fields.get("prompt"), str) or not texts:
        raise InputError(f"{where}: it needs prompt and {answer}1 as text; found {', '.join(map(str, fields))}.")
    task = feedback.task(as_prompt(fields["prompt"]))
    return [feedback.episode(task, as_completion(text)) for text in texts]


def _part(row: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(row.get(name), Mapping):
        raise InputError(f"{where}: {name!r} is missing; found {', '.join(map(str, row))}.")
    part: Mapping[str, Any] = row[name]
    return part


def _text(messages: tuple[Message, ...]) -> str:
    """A single question as it is; a conversation as a dialogue."""
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names.get(m.role, m.role.title())}: {m.content}" for m in messages)
