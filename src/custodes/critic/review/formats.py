"""Findings for people and programs: JSON, SARIF 2.1.0, reviewdog's rdjson, GitHub's workflow commands, plain text."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from custodes import __version__
from custodes.critic.review.reviewed import Review, Reviewed

RULE = "critic"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def _to_json(review: Review) -> str:
    """A list of findings."""
    rows = [{**asdict(f), "places": [list(place) for place in f.places]} for f in review.findings]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def _to_sarif(review: Review) -> str:
    """SARIF 2.1.0 (OASIS). Confidence is the result's ``rank``, 0 to 100; what was not reviewed is a notification."""
    about = "A critic model quotes a suspicious place and says what is wrong. It is a signal, not a proof."
    rule = {"id": RULE, "shortDescription": {"text": "A suspicious place"}, "fullDescription": {"text": about}}
    driver = {"name": "Custodes", "version": __version__, "semanticVersion": __version__, "rules": [rule]}
    notes = [_notification(str(problem)) for problem in review.problems]
    notes += [_notification(review.died)] if review.died else []
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not review.died, "toolExecutionNotifications": notes}],
        "results": [_result(f) for f in review.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=1)


def _result(f: Reviewed) -> dict[str, Any]:
    return {
        "ruleId": RULE,
        "ruleIndex": 0,
        "level": "warning",
        "rank": round(100 * f.confidence, 2),
        "message": {"text": f.message},
        "locations": [_location(f, *place) for place in f.places[:1]],
        "relatedLocations": [{"id": i, **_location(f, *place)} for i, place in enumerate(f.places[1:], 1)],
        "partialFingerprints": {"custodes/v2": f.fingerprint},
    }


def _location(f: Reviewed, start: int, end: int) -> dict[str, Any]:
    uri = quote(PurePath(f.file).as_posix()) if f.file != "-" else "stdin"
    region = {"startLine": start, "endLine": end, "snippet": {"text": f.quote}}
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


def _notification(text: str) -> dict[str, Any]:
    return {"level": "error", "message": {"text": text}}


def _to_rdjson(review: Review) -> str:
    """reviewdog's diagnostic format."""
    rows = [
        {
            "message": f"{f.message} (confidence {f.confidence:.0%})",
            "location": {"path": f.file, "range": {"start": {"line": f.line}, "end": {"line": f.end_line}}},
            "severity": "WARNING",
            "code": {"value": RULE},
        }
        for f in review.findings
    ]
    return json.dumps({"source": {"name": "custodes"}, "diagnostics": rows}, ensure_ascii=False, indent=1)


def _to_github(review: Review) -> str:
    """GitHub's workflow commands, with everything escaped that could begin another."""
    return "\n".join(
        f"::warning file={_property(f.file)},line={f.line},endLine={f.end_line},"
        f"title={_property(f'Custodes, confidence {f.confidence:.0%}')}::{_data(f.message)}"
        for f in review.findings
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _to_text(review: Review) -> str:
    """One finding a line with its quote below, for a pipe."""
    lines = []
    for f in review.findings:
        also = f" (also {', '.join(_range(*place) for place in f.places[1:])})" if f.places[1:] else ""
        lines.append(f"{f.file}:{_range(f.line, f.end_line)}: {f.message} [{f.confidence:.0%}]{also}")
        lines += [f"    {line}" for line in f.quote.split("\n")]
    return "\n".join(lines)


def _range(start: int, end: int) -> str:
    return str(start) if start == end else f"{start}-{end}"


FORMATS: dict[str, Callable[[Review], str]] = {
    "text": _to_text,
    "json": _to_json,
    "sarif": _to_sarif,
    "rdjson": _to_rdjson,
    "github": _to_github,
}
