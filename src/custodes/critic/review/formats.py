"""A review for programs: JSON, SARIF 2.1.0, reviewdog's rdjson, and GitHub's workflow commands and step summary."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from custodes import __version__
from custodes.critic.review.evidence import Evidence
from custodes.critic.review.findings import Review, Reviewed, findings_text, summary
from custodes.critic.review.places import file_of, repository_path, repository_root, uri_of
from custodes.critic.review.snippets import plain_kind

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"
RULES = {
    "failing-example": "An example in the documentation, or a test, fails when it is run",
    "contradiction": "An input was found on which the function breaks what it promises",
    "difference": "An input was found on which the changed function gives another result",
    "wrong-example": "An example in the documentation is probably wrong itself",
    "argument-only": "A critic model finds the place suspicious; nothing was run",
}
"""What a finding rests on, by the id of SARIF's rule."""
ANNOTATIONS = 10
"""Warnings of one step that GitHub shows (its documentation of workflow commands)."""
SUMMARISED = 500
"""Findings in a step's summary, which may have 1 MiB."""


def _to_json(review: Review) -> str:
    """A list of findings; ``evidence`` is null for one that is an argument only."""
    rows = [{**asdict(f), "kind": f.kind, "places": [list(place) for place in f.places]} for f in review.findings]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def _to_sarif(review: Review) -> str:
    """SARIF 2.1.0 (OASIS). Confidence is the result's ``rank``, 0 to 100; what was not reviewed is a notification.

    A finding with evidence has a code flow: where the promise stands, what was called, and what came.
    """
    rules = [{"id": name, "shortDescription": {"text": about}} for name, about in RULES.items()]
    driver = {"name": "Custodes", "version": __version__, "semanticVersion": __version__, "rules": rules}
    missed = [*map(str, review.problems), *([review.died] if review.died else [])]
    notes = [{"level": "error", "message": {"text": text}} for text in missed]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"uri": f"{uri_of(repository_root('.')).rstrip('/')}/"}},
        "invocations": [{"executionSuccessful": not review.died, "toolExecutionNotifications": notes}],
        "results": [_sarif_result(review, f) for f in review.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=1)


def _sarif_result(review: Review, f: Reviewed) -> dict[str, Any]:
    artifact, rule = _artifact(f.file), plain_kind(f.kind)
    lines = [(review.stored_at(f.file, start), review.stored_at(f.file, end)) for start, end in f.places]
    regions = [{"startLine": start, "endLine": end, "snippet": {"text": f.quote}} for start, end in lines]
    places = [{"physicalLocation": {"artifactLocation": artifact, "region": region}} for region in regions]
    row = {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "level": "warning",
        "rank": round(100 * f.confidence, 2),
        "message": {"text": f.message},
        "locations": places[:1],
        "relatedLocations": [{"id": i, **place} for i, place in enumerate(places[1:], 1)],
        "partialFingerprints": {"custodes/v3": f.fingerprint},
    }
    if f.evidence is None:
        return row | ({"properties": {"suspicion": f.suspicion}} if f.suspicion else {})
    steps = [_step(artifact, *step) for step in _steps(f.evidence, f.line)]
    return {**row, "codeFlows": [{"threadFlows": [{"locations": steps}]}], "properties": {"test": f.evidence.test}}


def _step(artifact: dict[str, str], line: int, text: str) -> dict[str, Any]:
    place = {"artifactLocation": artifact, "region": {"startLine": line}}
    return {"location": {"physicalLocation": place, "message": {"text": text}}}


def _steps(evidence: Evidence, line: int) -> list[tuple[int, str]]:
    """(line, what happens there): the promise, the call, and what came."""
    called = f"called: {' '.join(evidence.call.split())}"
    return [
        (evidence.line, f"promised by {evidence.by}: {evidence.promised}"),
        (line, called),
        (evidence.at or line, f"came: {evidence.came}"),
    ]


def _artifact(name: str) -> dict[str, str]:
    """Where a file is, from the root of the repository where it is below that."""
    if name == "-":
        return {"uri": "stdin"}
    path = repository_path(file_of(name))
    return {"uri": uri_of(path)} | ({} if path.startswith("/") else {"uriBaseId": ROOT})


def _to_rdjson(review: Review) -> str:
    """reviewdog's diagnostic format."""
    rows = [
        {
            "message": f"{f.message} (confidence {f.confidence:.0%})",
            "location": {"path": file_of(f.file), "range": {"start": {"line": start}, "end": {"line": end}}},
            "severity": "WARNING",
            "code": {"value": plain_kind(f.kind)},
        }
        for f in review.findings
        for start, end in [(review.stored_at(f.file, f.line), review.stored_at(f.file, f.end_line))]
    ]
    return json.dumps({"source": {"name": "custodes"}, "diagnostics": rows}, ensure_ascii=False, indent=1)


def _to_github(review: Review) -> str:
    """GitHub's workflow commands for the most confident findings, with everything escaped that could begin another.

    GitHub shows ten annotations of a step. The others stand in the step's summary (:func:`step_summary`), and as lines here.
    """
    message = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
    value = message | str.maketrans({":": "%3A", ",": "%2C"})
    ordered = sorted(review.findings, key=_weight)
    commands = [
        f"::warning file={path.translate(value)},line={start},endLine={end},"
        f"title={f'Custodes: {f.kind}, confidence {f.confidence:.0%}'.translate(value)}::{_told(f).translate(message)}"
        for f in ordered[:ANNOTATIONS]
        for path, start, end in [_in_repository(review, f)]
    ]
    rest = ordered[ANNOTATIONS:]
    others = (
        f"- {path}:{start}: {f.message} [{f.kind}, {f.confidence:.0%}]"
        for f in rest
        for path, start, _ in [_in_repository(review, f)]
    )
    return "\n".join([*commands, *(" ".join(line.split()) for line in others)])


def _told(f: Reviewed) -> str:
    """The message, and the test to paste."""
    return f"{f.message}\n\n{f.evidence.test}" if f.evidence else f.message


def step_summary(review: Review) -> str:
    """All findings as a table in Markdown, the most confident first, for the summary of a step of GitHub Actions."""
    rows = sorted(review.findings, key=_weight)
    lines = ["### Custodes", "", summary(review), ""]
    lines += ["| place | what may be wrong | confidence |", "|---|---|---|"] if rows else []
    for f in rows[:SUMMARISED]:
        path, line, _ = _in_repository(review, f)
        lines.append(f"| {_in_table(f'{path}:{line}')} | {_in_table(f.message)} | {f.confidence:.0%} |")
    lines += ["", f"{len(rows) - SUMMARISED} further findings are left out."] if len(rows) > SUMMARISED else []
    lines += [f"- not reviewed: {_in_table(str(problem))}" for problem in review.problems]
    lines += [f"- stopped: {_in_table(review.died)}"] if review.died else []
    return "\n".join(lines) + "\n"


def _weight(f: Reviewed) -> tuple[bool, float]:
    """What was shown by running comes first, then the more confident."""
    return f.evidence is None, -f.confidence


def _in_repository(review: Review, f: Reviewed) -> tuple[str, int, int]:
    """(path from the repository's root, first line, last line)"""
    path = "stdin" if f.file == "-" else repository_path(file_of(f.file))
    return path, review.stored_at(f.file, f.line), review.stored_at(f.file, f.end_line)


def _in_table(text: str) -> str:
    """Text that is no Markdown and no HTML, on one line."""
    return re.sub(r"[\\`*_{}\[\]<>|#!~@&$]", lambda match: f"&#{ord(match[0])};", " ".join(text.split()))


FORMATS: dict[str, Callable[[Review], str]] = {
    "text": findings_text,
    "json": _to_json,
    "sarif": _to_sarif,
    "rdjson": _to_rdjson,
    "github": _to_github,
}
