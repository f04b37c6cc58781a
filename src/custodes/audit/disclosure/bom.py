"""bom.cdx.json: models, data and software as a bill of materials, CycloneDX 1.6 with model cards (ML-BOM)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from custodes.audit.disclosure.history import RecordedHistory, RecordRow
from custodes.audit.disclosure.lines import FilledLine, Measure

FEEDBACK = "feedback"
SHA256 = re.compile("[0-9a-f]{64}")
METRICS = {"policy": "policy.results", "reward": "reward.results"}
"""Kind of model -> the line that holds its results."""
TRAINED_BY = {"policy": "reinforcement-learning", "reward": "supervised"}


def bill_of_materials(history: RecordedHistory, lines: Mapping[str, FilledLine], version: str) -> dict[str, Any]:
    """The bill as JSON. Its serial number is made from the heads of the ledgers: the same record has the same number."""
    models = _latest_models(history)
    heads = "\n".join(found.head for found in history.verified)
    policies = [row for row in models.values() if row.record.kind == "policy"]
    about = policies[-1] if policies else next(iter(models.values()), None)
    title = lines["model.unique_name"].stated
    named = {
        "type": "machine-learning-model",
        "name": title or (about.record.name if about else "model"),
        "bom-ref": "subject",
    }
    whole = [*(_model(row, lines) for row in models.values()), _feedback(lines), *_software(history)]
    references = [f"model:{id}" for id in models]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, heads)}",
        "version": 1,
        "metadata": {
            "timestamp": max(place.run.ended or place.run.started for place in history.runs),
            "tools": {"components": [{"type": "application", "name": "custodes", "version": version}]},
            "component": named,
            **_provider(lines),
        },
        "components": whole,
        "dependencies": [{"ref": "subject", "dependsOn": references}, *_dependencies(models)],
    }


def _provider(lines: Mapping[str, FilledLine]) -> dict[str, Any]:
    said = lines["model.provider"].stated
    return {"supplier": {"name": said}} if said else {}


def _latest_models(history: RecordedHistory) -> dict[str, RecordRow]:
    """Content hash -> the row of a model, the last one where several say the same."""
    return {row.record.id: row for row in history.rows("model")}


def _model(row: RecordRow, lines: Mapping[str, FilledLine]) -> dict[str, Any]:
    model = row.record
    card: dict[str, Any] = {"modelParameters": {"task": "scoring" if model.kind == "reward" else "text-generation"}}
    if model.kind in TRAINED_BY:
        card["modelParameters"] |= {"approach": {"type": TRAINED_BY[model.kind]}, "datasets": [{"ref": FEEDBACK}]}
    card["modelParameters"] |= {
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "number" if model.kind == "reward" else "text"}],
    }
    if metrics := list(_metrics(model.kind, lines)):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if model.kind == "policy" and (considered := _considerations(lines)):
        card["considerations"] = considered
    properties = [{"name": f"custodes:{name}", "value": str(said)} for name, said in model.metadata.items()]
    properties += [{"name": "custodes:row", "value": str(row.seq)}, {"name": "custodes:run", "value": row.place.run.id}]
    found = {"type": "machine-learning-model", "bom-ref": f"model:{model.id}", "name": model.name, "modelCard": card}
    if SHA256.fullmatch(model.id):
        found["hashes"] = [{"alg": "SHA-256", "content": model.id}]
    return found | {"properties": properties}


def _metrics(kind: str, lines: Mapping[str, FilledLine]) -> Iterator[dict[str, Any]]:
    if kind not in METRICS:
        return
    for name, shown in lines[METRICS[kind]].value.items():
        if isinstance(shown, Measure):
            x = shown.interval.to_dict()
            metric: dict[str, Any] = {"type": name, "value": str(x["estimate"])}
            if x["low"] is not None and x["high"] is not None:
                metric["confidenceInterval"] = {"lowerBound": str(x["low"]), "upperBound": str(x["high"])}
            yield metric


def _considerations(lines: Mapping[str, FilledLine]) -> dict[str, Any]:
    def said(*keys: str) -> list[str]:
        return [text for key in keys for text in (*lines[key].told, lines[key].stated) if text]

    found = {
        "useCases": said("model.intended_uses"),
        "technicalLimitations": said("system.failures", "policy.over_optimisation"),
        "ethicalConsiderations": [{"name": text} for text in said("system.risks", "society.benefits")],
    }
    return {name: held for name, held in found.items() if held}


def _feedback(lines: Mapping[str, FilledLine]) -> dict[str, Any]:
    told = [text for key in ("feedback.types", "feedback.evaluators", "data.amount") for text in lines[key].told]
    data = {"type": "dataset", "name": FEEDBACK, "description": "; ".join(told) or "not recorded"}
    return {"type": "data", "bom-ref": FEEDBACK, "name": FEEDBACK, "data": [data]}


def _software(history: RecordedHistory) -> Iterator[dict[str, Any]]:
    packages = {
        (name, str(version)): None
        for place in history.runs
        for used in place.run.invocations
        for name, version in used.get("packages", {}).items()
    }
    for name, version in packages:
        purl = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _dependencies(models: Mapping[str, RecordRow]) -> Iterator[dict[str, Any]]:
    """Each model depends on the one that it grew from, and on the feedback where it learned from that."""
    for id, row in models.items():
        on = [f"model:{row.record.parent}"] if row.record.parent in models else []
        on += [FEEDBACK] if row.record.kind in TRAINED_BY else []
        if on:
            yield {"ref": f"model:{id}", "dependsOn": on}
