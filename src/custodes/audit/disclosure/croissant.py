"""croissant.json: the feedback as a dataset, in Croissant 1.1 with its vocabulary for responsible AI (RAI 1.0).

The dataset is the record itself: its ledgers, which grow (so the dataset is live, and the version is the head), and the files that
were read. Where no line says something, the property is left out.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from custodes.audit.disclosure.history import RecordedHistory
from custodes.audit.disclosure.lines import FilledLine
from custodes.ledger import Artefact

VERSION, RAI_VERSION = "http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"
_OF_CROISSANT = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet",
    "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _OF_CROISSANT},
}
"""What the names in the file stand for, as the specification of Croissant 1.1 has it."""
RESPONSIBLE = {
    "rai:dataCollection": ["feedback.examples", "feedback.assignment", "feedback.selection"],
    "rai:dataCollectionType": ["feedback.evaluators"],
    "rai:dataAnnotationProtocol": ["feedback.guidelines", "feedback.types", "feedback.training"],
    "rai:dataAnnotationAnalysis": ["feedback.agreement", "feedback.quality"],
    "rai:annotationsPerItem": ["feedback.assignment"],
    "rai:annotatorDemographics": ["feedback.demographics"],
    "rai:machineAnnotationTools": ["data.synthetic"],
    "rai:dataPreprocessingProtocol": ["feedback.poisoning", "reward.loss"],
    "rai:dataUseCases": ["model.intended_uses"],
    "rai:dataBiases": ["data.biases", "reward.by_group"],
    "rai:dataLimitations": ["system.record"],
    "rai:dataSocialImpact": [
        "society.pay", "society.exposure", "society.skipping", "society.breaks", "society.hours", "society.benefits",
    ],
    "rai:personalSensitiveInformation": ["data.unsuitable"],
    "rai:dataReleaseMaintenancePlan": ["system.plans"],
}  # fmt: skip
"""Property -> keys of the lines that it repeats."""
ONCE = {
    "rai:dataCollection", "rai:annotationsPerItem", "rai:dataSocialImpact", "rai:dataReleaseMaintenancePlan",
}  # fmt: skip
"""Properties with one value; the others have as many as there is to say."""


def croissant(history: RecordedHistory, lines: Mapping[str, FilledLine], out: Path, made: str) -> dict[str, Any]:
    """The dataset's description as JSON-LD; paths of files are relative to the folder ``out``."""
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [VERSION, RAI_VERSION],
        "name": "feedback-" + history.verified[0].head[:12],
        "description": f"Prompts, replies and judgments from which a model learned. {made}",
        "version": f"{sum(v.rows for v in history.verified)}.0.0",
        "datePublished": max(place.run.ended or place.run.started for place in history.runs),
        "isLiveDataset": True,
        "distribution": [*_ledgers(history, out), *_inputs(history)],
    }
    if license := lines["model.license"].stated:
        found["license"] = license
    if provider := lines["model.provider"].stated:
        found["creator"] = {"@type": "sc:Organization", "name": provider}
    for name, keys in RESPONSIBLE.items():
        told = [text for key in keys for text in (*lines[key].told, lines[key].stated) if text]
        if told:
            found[name] = "\n".join(told) if name in ONCE else told
    return found


def _ledgers(history: RecordedHistory, out: Path) -> Iterator[dict[str, Any]]:
    """The ledgers themselves. They grow, so the head stands for a digest of the file."""
    for number, (ledger, found) in enumerate(zip(history.ledgers, history.verified, strict=True), 1):
        url = "://" in ledger.name
        yield {
            "@type": "cr:FileObject",
            "@id": f"ledger-{number}",
            "name": f"ledger-{number}" if url else Path(ledger.name).name,
            "description": f"A ledger of {found.rows:,} rows with the head {found.head}.",
            "contentUrl": ledger.name if url else os.path.relpath(ledger.name, out),
            "encodingFormat": "application/sql" if url else "application/vnd.sqlite3",
        }


def _inputs(history: RecordedHistory) -> Iterator[dict[str, Any]]:
    """The files that were read, those that were hashed whole."""
    blocks: dict[str, list[Artefact]] = {}
    for row in history.rows("artefact", "input"):
        blocks.setdefault(row.record.path, []).append(row.record)
    for number, (path, of) in enumerate(blocks.items(), 1):
        if {block.sha256 for block in of} == {of[0].sha256} and of[0].start == 0:
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            yield {
                "@type": "cr:FileObject",
                "@id": f"file-{number}",
                "name": Path(path).name,
                "contentUrl": path,
                "encodingFormat": kind,
                "sha256": of[0].sha256,
            }
