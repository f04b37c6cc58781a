"""The page of a review: what was found in which folder, every finding with its lines, and what was not run and why."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from custodes.critic.review.evidence import TITLES
from custodes.critic.review.findings import Review, Reviewed, summary
from custodes.critic.review.places import file_of, repository_path
from custodes.critic.review.snippets import lines_of
from custodes.page import Report, Section, Tile, number, save_report

SEEN = 2
"""Lines that are shown before and after a finding's."""


def write_review_page(review: Review, page: Path, title: str) -> Path:
    """Write the page. Raises InputError where it cannot be written."""
    files = dict.fromkeys(f.file for f in review.findings)
    report = Report(
        kind="Custodes · a review of code",
        title=title,
        subtitle=summary(review),
        about="A finding with evidence shows an input that was run in a sandbox. One without is an argument: a place to look at.",
        summary="Summary",
        sections=[_Folders(review, "folders"), *(_File((review, file), f"file-{k}") for k, file in enumerate(files)), _NotSeen(review, "not-seen")],
        head=None,
    )  # fmt: skip
    return save_report(report, page)


class _Folders(Section[Review]):
    """Findings by folder."""

    title = "By folder"
    template = """
{% if figures %}
<div class="scroll"><table class="wide-table">
<thead><tr><th>folder</th><th>files with findings</th><th>findings with evidence</th><th>arguments</th><th>functions run</th></tr></thead>
<tbody>{% for row in figures %}<tr><th scope="row"><code>{{ row.folder }}</code></th><td data-label="files with findings">{{ row.files }}</td><td data-label="findings with evidence">{{ row.shown }}</td><td data-label="arguments">{{ row.argued }}</td><td data-label="functions run">{{ row.ran }} of {{ row.functions }}</td></tr>
{% endfor %}</tbody></table></div>
{% endif %}
"""

    def read(self) -> list[dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}

        def of(file: str) -> dict[str, Any]:
            folder = posixpath.dirname(_named(file)) or "."
            empty = {"folder": folder, "files": set(), "shown": 0, "argued": 0, "ran": 0, "functions": 0}
            return rows.setdefault(folder, empty)

        for finding in self.source.findings:
            row = of(finding.file)
            row["files"].add(finding.file)
            row["shown" if finding.evidence else "argued"] += 1
        for run in self.source.runs:
            row = of(run.file)
            row["ran"] += run.ran
            row["functions"] += 1
        return [{**row, "files": len(row["files"])} for _, row in sorted(rows.items())]

    def tiles(self) -> Sequence[Tile]:
        found, runs = self.source.findings, self.source.runs
        shown = sum(f.evidence is not None for f in found)
        return (
            Tile("findings with evidence", number(shown), "an input was run"),
            Tile("arguments", number(len(found) - shown), "nothing was run"),
            Tile("files", number(self.source.files), "reviewed"),
            Tile("functions run", number(sum(run.ran for run in runs)), f"of {number(len(runs))}"),
        )

    def claims(self) -> Sequence[str]:
        kinds = Counter(f.evidence.kind for f in self.source.findings if f.evidence)
        return [f"{TITLES[kind].capitalize()}: {number(count)}." for kind, count in kinds.most_common()]


class _File(Section[tuple[Review, str]]):
    """The findings of one file."""

    style = """
pre.code{margin:.4rem 0;padding:.6rem .8rem;overflow-x:auto;border:1px solid var(--line);background:var(--wash);line-height:1.45}
pre.code .at{display:inline-block;min-width:100%;background:rgba(255,190,0,.25)}
pre.code .no{display:inline-block;width:3.2em;color:var(--grey);user-select:none}
.finding{margin:0 0 1.6rem}
.finding h3 small{font-weight:normal}
"""
    template = """
{% for one in figures %}
<div class="finding">
<h3>{{ one.title }} <small>{{ one.where }}, confidence {{ one.confidence | percent }}</small></h3>
<pre class="code">{% for line in one.lines %}<span{% if line.quoted %} class="at"{% endif %}><span class="no">{{ line.number }}</span>{{ line.text }}</span>
{% endfor %}</pre>
{% if one.evidence %}
<table class="kv">{% for label, value in one.evidence %}<tr><th scope="row">{{ label }}</th><td><code>{{ value }}</code></td></tr>{% endfor %}</table>
<details><summary>A test to paste</summary><pre class="code">{{ one.test }}</pre></details>
{% else %}<p>{{ one.message }}</p>{% endif %}
</div>
{% endfor %}
"""

    def __init__(self, source: tuple[Review, str], name: str) -> None:
        super().__init__(source, name, _named(source[1]))

    def read(self) -> list[dict[str, Any]]:
        review, file = self.source
        lines = lines_of(review.texts[file])
        return [self._row(f, lines) for f in review.findings if f.file == file]

    @staticmethod
    def _row(f: Reviewed, lines: list[str]) -> dict[str, Any]:
        near = range(max(1, f.line - SEEN), min(len(lines), f.end_line + SEEN) + 1)
        also = f", also {', '.join(str(start) for start, _ in f.places[1:])}" if f.places[1:] else ""
        said = f.evidence
        return {
            "title": TITLES[said.kind].capitalize() if said else "A suspicious line",
            "where": f"{f.name}, line {f.line}{also}",
            "confidence": f.confidence,
            "lines": [{"number": n, "text": lines[n - 1], "quoted": f.line <= n <= f.end_line} for n in near],
            "evidence": list(said.rows.items()) if said else [],
            "test": said.test.strip() if said else "",
            "message": f.message,
        }  # fmt: skip


class _NotSeen(Section[Review]):
    """What was not reviewed, and which functions were not run."""

    title = "Not reviewed, not run"
    template = """
{% if figures.problems %}<ul>{% for text in figures.problems %}<li>{{ text }}</li>{% endfor %}</ul>{% endif %}
{% if figures.reasons %}
<div class="scroll"><table class="wide-table"><thead><tr><th>why a function was not run</th><th>functions</th></tr></thead>
<tbody>{% for reason, count in figures.reasons %}<tr><th scope="row">{{ reason }}</th><td data-label="functions">{{ count | number }}</td></tr>{% endfor %}</tbody></table></div>
{% endif %}
"""

    def read(self) -> dict[str, Any]:
        died = [f"stopped: {self.source.died}"] if self.source.died else []
        reasons = Counter(run.reason for run in self.source.runs if not run.ran)
        return {"problems": [*map(str, self.source.problems), *died], "reasons": reasons.most_common()}


def _named(name: str) -> str:
    """The path from the repository's root, with the cell of a notebook."""
    file = file_of(name)
    return "standard input" if name == "-" else f"{repository_path(file)}{name[len(file) :]}"
