"""Tasks of Label Studio: data prompt, answer1, answer2, ...; one annotation per annotator with all their results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from custodes.feedback.platform import OWN, Platform, PlatformItem, PlatformReader, kept_in, record_part
from custodes.feedback.platform_answers import Answered
from custodes.feedback.records import judgment_row
from custodes.registry import platform
from custodes.types import InputError, Judgment

SIDES = {"response1": "left", "response2": "right"}


@platform
class LabelStudio(Platform):
    """Label Studio, https://labelstud.io."""

    file = "tasks.json"

    def write(self, items: Sequence[PlatformItem]) -> list[dict[str, Any]]:
        tasks = []
        for n, item in enumerate(items, 1):
            data = {"prompt": item.prompt, "episodes": [e.id for e in item.shown], OWN: item.texts()}
            data |= {f"answer{place}": episode.completion for place, episode in enumerate(item.shown, 1)}
            to = ",".join(f"answer{place}" for place in range(1, len(item.shown) + 1)) or "prompt"
            annotations: dict[str, dict[str, Any]] = {}
            for (annotator, question), given in item.answers.items():
                for judgment, value in given:
                    begun: dict[str, Any] = {"completed_by": annotator, "result": [], "lead_time": judgment.seconds}
                    made = _control(judgment, value)
                    meta = {OWN: [json.dumps({"value": made["value"], "row": judgment_row(judgment)})]}
                    result = {"from_name": question, "to_name": to, **made, "meta": meta}
                    annotations.setdefault(annotator, begun)["result"].append(result)
            tasks.append({"id": n, "data": data, "annotations": list(annotations.values())})
        return tasks

    def read(self, records: Sequence[Mapping[str, Any]], reader: PlatformReader) -> None:
        for n, held in enumerate(records, 1):
            where, data = f"task {n}", record_part(held, "data", f"task {n}")
            own: Mapping[str, Any] = data[OWN] if isinstance(data.get(OWN), Mapping) else {}
            task, shown = reader.shown(data, "answer", own, where)
            for annotation in held.get("annotations", []):
                if annotation.get("was_cancelled"):
                    continue
                by = annotation.get("completed_by")
                who = str(by.get("email") or by.get("id")) if isinstance(by, dict) else str(by or "")
                for result in annotation.get("result", []):
                    name, value = str(result.get("from_name", "")), result.get("value", {})
                    kept = kept_in(((result.get("meta") or {}).get(OWN) or [None])[0])
                    if own and kept.get("value") == value:
                        reader.restore([kept["row"]], where, task)
                        continue
                    place, about = f"{where}, control {name!r}", {"seconds": annotation.get("lead_time")}
                    form, plain = _plain(result, place)
                    given = Answered(place, f"label-studio-{n}-{name}-{who}", name, form, plain, who, about)
                    one = re.fullmatch(r"\D*([1-9])", str(result.get("to_name", "")))
                    given.response = int(one[1]) - 1 if one else None  # several, or the prompt
                    reader.take(given, task, shown)


def _control(judgment: Judgment, value: Any) -> dict[str, Any]:
    """The type and the value of a result."""
    if judgment.form == "pair" and value in SIDES:
        return {"type": "pairwise", "value": {"selected": SIDES[value]}}
    if judgment.form == "number":
        return {"type": "rating", "value": {"rating": value}}
    if judgment.form == "spans":
        (mark,) = value
        return {"type": "labels", "value": {"start": mark["start"], "end": mark["end"], "labels": [mark["label"]]}}
    if judgment.form == "ranks":
        order = sorted(value, key=lambda one: one["rank"])
        return {"type": "ranker", "value": {"ranker": {"rank": [one["value"] for one in order]}}}
    if judgment.form == "text":
        return {"type": "textarea", "value": {"text": [value]}}
    return {"type": "choices", "value": {"choices": [value]}}


def _plain(result: Mapping[str, Any], where: str) -> tuple[str, Any]:
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
