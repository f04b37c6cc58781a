"""Records of Argilla: fields prompt, response1, response2, ...; responses by question, by annotator.

Argilla knows people by a UUID: ours is made from the annotator's id.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from custodes.feedback.platform import OWN, Platform, PlatformItem, PlatformReader, kept_in, record_part
from custodes.feedback.platform_answers import Answered
from custodes.feedback.records import judgment_row
from custodes.registry import platform
from custodes.types import InputError


@platform
class Argilla(Platform):
    """Argilla, https://argilla.io."""

    def write(self, items: Sequence[PlatformItem]) -> list[dict[str, Any]]:
        records = []
        for item in items:
            responses: dict[str, list[dict[str, Any]]] = {}
            metadata = {OWN: json.dumps(item.texts())}
            for (annotator, question), given in item.answers.items():
                user = str(uuid.uuid5(uuid.NAMESPACE_URL, f"custodes:{annotator}"))
                values = [value for _, value in given]
                held = [[one for value in values for one in value]] if isinstance(values[0], list) else values
                responses.setdefault(question, []).extend({"value": value, "user_id": user} for value in held)
                rows = [judgment_row(judgment) for judgment, _ in given]
                metadata[f"{question}/{user}"] = json.dumps({"values": held, "rows": rows})
            fields = {f"response{n}": episode.completion for n, episode in enumerate(item.shown, 1)}
            records.append(
                {
                    "id": "|".join(episode.id for episode in item.shown) or item.task.id,
                    "fields": {"prompt": item.prompt} | fields,
                    "metadata": metadata,
                    "suggestions": {},
                    "responses": responses,
                    "vectors": {},
                    "status": "completed",
                }
            )
        return records

    def read(self, records: Sequence[Mapping[str, Any]], reader: PlatformReader) -> None:
        for n, record in enumerate(records, 1):
            where, metadata = f"record {n}", record.get("metadata") or {}
            own = kept_in(metadata.get(OWN))
            task, shown = reader.shown(record_part(record, "fields", where), "response", own, where)
            for question, responses in record_part(record, "responses", where).items():
                place, by_user = f"{where}, question {question!r}", dict[str, list[Any]]()
                for response in responses:
                    if response.get("status") not in ("draft", "discarded"):
                        by_user.setdefault(str(response.get("user_id") or ""), []).append(response["value"])
                for user, values in by_user.items():
                    kept = kept_in(metadata.get(f"{question}/{user}"))
                    if own and kept.get("values") == values:
                        reader.restore(kept["rows"], where, task)
                        continue
                    who = str((kept.get("rows") or [{}])[0].get("annotator") or user)
                    for value in values:
                        form, plain = _plain(value, place)
                        given = Answered(place, f"argilla-{n}-{question}-{who}", question, form, plain, who)
                        reader.take(given, task, shown)


def _plain(value: Any, where: str) -> tuple[str, Any]:
    """(form, plain value) of a response; what it is, its shape says."""
    if isinstance(value, str):
        return "text", value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number", value
    if isinstance(value, list):
        if all(isinstance(one, str) for one in value):
            return "choices", value
        if all(isinstance(one, Mapping) and "rank" in one for one in value):
            return "ranks", [(one.get("value"), one["rank"]) for one in value]
        if all(isinstance(one, Mapping) and {"start", "end", "label"} <= one.keys() for one in value):
            return "spans", [(one["start"], one["end"], str(one["label"]), one.get("text")) for one in value]
    raise InputError(f"{where}: {str(value)[:60]!r} is no answer that is read (text, number, choices, ranks or spans).")
