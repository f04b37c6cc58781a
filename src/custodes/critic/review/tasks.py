"""A review as tasks of a project, in which people rate each function and the review's findings are the help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custodes import __version__
from custodes.critic.functions import SourceFunction, functions_of
from custodes.critic.review.evidence import TITLES, FunctionRun
from custodes.critic.review.findings import Review, Reviewed
from custodes.critic.review.notebooks import NOTEBOOK
from custodes.critic.review.places import repository_path
from custodes.environments.pasted_test import run_test
from custodes.environments.sandbox import Kind, SandboxFailure
from custodes.files import save_text

WRITER = f"custodes critique {__version__}"


def write_tasks(review: Review, path: Path, sandbox: Kind = "auto") -> int:
    """One task for each function of the reviewed files; how many.

    ``prompt`` asks about the function, which is the only answer. ``assistance`` says what was found, or that nothing was. Its ``tests`` are
    those that fail again on the file alone, so that people can run them again anywhere.
    """
    rows = [row for file in _files(review) for row in _rows(review, file, sandbox)]
    save_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def _files(review: Review) -> Iterator[str]:
    """Python files, without notebooks: their cells are no modules."""
    return (file for file in review.texts if file not in review.cells and not file.endswith(NOTEBOOK))


def _rows(review: Review, file: str, sandbox: Kind) -> Iterator[dict[str, Any]]:
    try:
        functions = functions_of(review.texts[file], shortest=1)
    except (SyntaxError, ValueError):
        return
    runs = {run.name: run for run in review.runs if run.file == file}
    by_name: dict[str, list[Reviewed]] = {}
    for finding in review.findings:
        if finding.file == file:
            by_name.setdefault(finding.name, []).append(finding)
    alone = _failing_alone(review.texts[file], file, [f for found in by_name.values() for f in found], sandbox)
    for function in functions:
        found = by_name.get(function.qualname, [])
        tests = [alone[f.evidence.test] for f in found if f.evidence and f.evidence.test in alone]
        text = _found_in_words(found, runs.get(function.qualname))
        yield {
            "prompt": _asked(file, function),
            "answers": [f"```python\n{function.code.rstrip()}\n```"],
            "assistance": {"by": WRITER, "text": text, "tests": tests},
        }


def _asked(file: str, function: SourceFunction) -> str:
    where = f"`{repository_path(file)}`, lines {function.start} to {function.end}"
    return f"Is `{function.qualname}` right? It stands in {where}."


def _found_in_words(found: list[Reviewed], run: FunctionRun | None) -> str:
    """Findings as Markdown; without any, on what nothing was found, or why the function was not run."""
    parts = []
    for finding in found:
        said = finding.evidence
        if said is None:
            parts.append(f"**Argument only**, line {finding.line}: {finding.message}")
            continue
        shown = "\n".join(f"{label:<9} {' '.join(value.split())}" for label, value in said.rows.items())
        parts.append(f"**{TITLES[said.kind].capitalize()}**, line {finding.line}.\n\n```text\n{shown}\n```")
    if parts:
        return "\n\n".join(parts)
    if run is not None and run.ran:
        return f"It was run on {run.inputs} {'input' if run.inputs == 1 else 'inputs'}, and nothing that it promises broke."
    return f"It was not run: {run.reason if run else 'nothing was'}."


def _failing_alone(text: str, file: str, found: list[Reviewed], sandbox: Kind) -> dict[str, dict[str, str]]:
    """Test -> the row that shows it, of tests that fail again where the file stands by itself."""
    module, rows = Path(file).stem, dict[str, dict[str, str]]()
    tests = [f.evidence.test for f in found if f.evidence and f"from {module} import" in f.evidence.test]
    for test in tests:
        try:
            said = run_test(module, text, test, sandbox)
        except SandboxFailure:
            continue
        if said and not said.startswith("not loaded"):
            rows[test] = {"module": module, "code": text, "test": test}
    return rows
