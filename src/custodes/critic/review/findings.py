"""What a review found, and how it is shown: in a terminal, in a pipe, and to programs.

Programs get JSON, SARIF 2.1.0, reviewdog's rdjson, or GitHub's workflow commands.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from custodes import __version__
from custodes.critic.review.evidence import TITLES, Evidence, FunctionRun, runs_in_words
from custodes.critic.review.question import plain_question
from custodes.critic.review.snippets import Problem, lines_of

ARGUMENT = "argument only"
RULES = {
    "failing-example": "An example in the documentation, or a test, fails when it is run",
    "contradiction": "An input was found on which the function breaks what it promises",
    "difference": "An input was found on which the changed function gives another result",
    "wrong-example": "An example in the documentation is probably wrong itself",
    "argument-only": "A critic model finds the place suspicious; nothing was run",
}
"""What a finding rests on, by the id of SARIF's rule."""
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ANSWER = re.compile(r"#\d+$")  # a row of a file of answers
AROUND = 1  # lines shown before and after a quote


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One finding in a file; ``places`` lists every line range that the quote may mean, the first is ``line``.

    ``name`` is the function or method that it is in, "module" for code outside. Without ``evidence`` it is an argument only.
    """

    file: str
    line: int
    end_line: int
    quote: str
    message: str
    confidence: float
    places: tuple[tuple[int, int], ...]
    name: str = "module"
    evidence: Evidence | None = None

    @property
    def kind(self) -> str:
        """What the finding rests on."""
        return self.evidence.kind if self.evidence else ARGUMENT

    @property
    def fingerprint(self) -> str:
        """The same after lines have moved: of the file, the function, the quote, the kind of evidence and nothing else."""
        shown = f"{self.file}\0{self.name}\0{' '.join(self.quote.split())}"
        shown += f"\0{self.kind}" if self.evidence else ""
        return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:20]


@dataclass(slots=True)
class Review:
    """Findings in the order of files, those with evidence first, then by confidence; ``died`` says why not all was reviewed."""

    findings: list[Reviewed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    snippets: int = 0
    cached: int = 0
    hidden: int = 0  # by a comment, the baseline, or the lines of a diff
    died: str = ""
    texts: dict[str, str] = field(default_factory=dict, repr=False)  # of every file, as it was read
    occurring: list[tuple[Reviewed, int]] = field(default_factory=list, repr=False)  # shown or known, and how often
    whole: list[str] = field(default_factory=list, repr=False)  # files of which every line was reviewed
    runs: list[FunctionRun] = field(default_factory=list, repr=False)  # which functions were run


# ---------------------------------------------------------------- for people


def show(review: Review, console: Console) -> None:
    """Print every finding with its quoted lines highlighted, what was not reviewed, and a summary."""
    for finding in review.findings:
        also = f", also {', '.join(str(start) for start, _ in finding.places[1:])}" if finding.places[1:] else ""
        console.print(Text(f"{finding.file}:{finding.line}{also}", style="bold"))
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(ratio=3)
        table.add_column(ratio=2)
        table.add_row(_highlighted(finding, review.texts[finding.file]), _comment(finding))
        console.print(table)
        if finding.evidence:
            console.print(Text("a test to paste:", style="dim"))
            console.print(
                Syntax(finding.evidence.test.rstrip(), "python", theme="ansi_dark", background_color="default")
            )
        console.print()
    for problem in review.problems:
        console.print(Text(f"not reviewed: {problem}", style="yellow"))
    if review.died:
        console.print(Text(f"stopped: {review.died}", style="red"))
    console.print(Text(summary(review), style="dim"))


def _comment(finding: Reviewed) -> Text:
    """What is said beside the quote: with evidence, what was called, what came, and what was promised by whom."""
    said = finding.evidence
    comment = Text(TITLES[said.kind], style="bold") if said else Text(finding.message)
    if said:
        rows = {"called": said.call, "came": said.came, "promised": said.promised, "by": said.by, "note": said.note}
        for label, value in rows.items():
            if value:
                comment.append(f"\n{label:<9}", style="dim").append(plain_question(value), style="default not bold")
    comment.append(f"\nconfidence {finding.confidence:.0%}", style="dim not bold")
    return comment


def summary(review: Review) -> str:
    """One line about the whole review, and which functions were run."""
    findings, files = _counted(len(review.findings), "finding"), _counted(review.files, "file")
    parts = [f"{findings} in {files}"]
    parts += [f"{_counted(review.snippets, 'piece')}, {review.cached} from the cache"] if review.snippets else []
    parts += [runs] if (runs := runs_in_words(review.runs)) else []
    parts += [f"{review.hidden} hidden"] if review.hidden else []
    nothing = review.snippets and not review.findings and not review.hidden
    return "; ".join(parts) + "." + (" A higher --strictness shows what is less likely." if nothing else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else f'{noun}s'}"


def _highlighted(finding: Reviewed, text: str) -> Syntax:
    lines, quoted = lines_of(text), range(finding.line, finding.end_line + 1)
    syntax = Syntax(
        "\n".join(lines),
        "text" if ANSWER.search(finding.file) else "python",
        theme="ansi_dark",
        background_color="default",
        line_numbers=True,
        line_range=(max(1, finding.line - AROUND), min(len(lines), finding.end_line + AROUND)),
        highlight_lines=set(quoted),
        word_wrap=True,
    )
    for number in quoted:
        line = lines[number - 1]
        syntax.stylize_range("reverse", (number, len(line) - len(line.lstrip())), (number, len(line)))
    return syntax


def _to_text(review: Review) -> str:
    """One finding a line with its quote below, for a pipe."""
    lines = []
    for f in review.findings:
        place, *others = (str(a) if a == b else f"{a}-{b}" for a, b in [(f.line, f.end_line), *f.places[1:]])
        also = f" (also {', '.join(others)})" if others else ""
        lines.append(f"{f.file}:{place}: {f.message} [{f.kind}, {f.confidence:.0%}]{also}")
        lines += [f"    {line}" for line in f.quote.split("\n")]
        lines += [f"    | {line}".rstrip() for line in f.evidence.test.rstrip().split("\n")] if f.evidence else []
    return "\n".join(lines)


# ---------------------------------------------------------------- for programs


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
        "invocations": [{"executionSuccessful": not review.died, "toolExecutionNotifications": notes}],
        "results": [_sarif_result(f) for f in review.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=1)


def _sarif_result(f: Reviewed) -> dict[str, Any]:
    artifact = {"uri": quote(PurePath(f.file).as_posix()) if f.file != "-" else "stdin"}
    regions = [{"startLine": start, "endLine": end, "snippet": {"text": f.quote}} for start, end in f.places]
    places = [{"physicalLocation": {"artifactLocation": artifact, "region": region}} for region in regions]
    rule = f.kind.replace(" ", "-")
    row = {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "level": "warning",
        "rank": round(100 * f.confidence, 2),
        "message": {"text": f.message},
        "locations": places[:1],
        "relatedLocations": [{"id": i, **place} for i, place in enumerate(places[1:], 1)],
        "partialFingerprints": {"custodes/v2": f.fingerprint},
    }
    if f.evidence is None:
        return row
    steps = [_step(artifact, *step) for step in _steps_of(f.evidence, f.line)]
    return {**row, "codeFlows": [{"threadFlows": [{"locations": steps}]}], "properties": {"test": f.evidence.test}}


def _step(artifact: dict[str, str], line: int, text: str) -> dict[str, Any]:
    place = {"artifactLocation": artifact, "region": {"startLine": line}}
    return {"location": {"physicalLocation": place, "message": {"text": text}}}


def _steps_of(evidence: Evidence, line: int) -> list[tuple[int, str]]:
    """(line, what happens there): the promise, the call, and what came."""
    called = f"called: {' '.join(evidence.call.split())}"
    return [
        (evidence.line, f"promised by {evidence.by}: {evidence.promised}"),
        (line, called),
        (evidence.at or line, f"came: {evidence.came}"),
    ]


def _to_rdjson(review: Review) -> str:
    """reviewdog's diagnostic format."""
    rows = [
        {
            "message": f"{f.message} (confidence {f.confidence:.0%})",
            "location": {"path": f.file, "range": {"start": {"line": f.line}, "end": {"line": f.end_line}}},
            "severity": "WARNING",
            "code": {"value": f.kind.replace(" ", "-")},
        }
        for f in review.findings
    ]
    return json.dumps({"source": {"name": "custodes"}, "diagnostics": rows}, ensure_ascii=False, indent=1)


def _to_github(review: Review) -> str:
    """GitHub's workflow commands, with everything escaped that could begin another."""
    message = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
    value = message | str.maketrans({":": "%3A", ",": "%2C"})
    return "\n".join(
        f"::warning file={f.file.translate(value)},line={f.line},endLine={f.end_line},"
        f"title={f'Custodes: {f.kind}, confidence {f.confidence:.0%}'.translate(value)}::{_told(f).translate(message)}"
        for f in review.findings
    )


def _told(f: Reviewed) -> str:
    """The message, and the test to paste."""
    return f"{f.message}\n\n{f.evidence.test}" if f.evidence else f.message


FORMATS: dict[str, Callable[[Review], str]] = {
    "text": _to_text,
    "json": _to_json,
    "sarif": _to_sarif,
    "rdjson": _to_rdjson,
    "github": _to_github,
}
