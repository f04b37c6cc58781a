"""Running as a critic among others, rated by running its tests on the right version."""

from __future__ import annotations

import inspect
import statistics

from custodes.critic.evidence_writer import FoundByRunning, find_by_running
from custodes.critic.examples import BugExample, example_from
from custodes.critic.policies import review_question
from custodes.critic.review.running import RunOptions
from custodes.critic.sources import STDLIB

BRIEF = RunOptions(inputs=10, seconds=2)
TWICE = 'def twice(x: int) -> int:\n    """Two times x.\n\n    >>> twice({asked})\n    4\n    """\n    return {body}\n'


def row(id: str, code: str, *lines: int, **more: str) -> BugExample:
    return example_from({"id": id, "code": code, "bug_lines": list(lines), "description": "Wrong.", **more})


def found(*rows: BugExample) -> FoundByRunning:
    return find_by_running(rows, [review_question(e) for e in rows], BRIEF)


def test_a_bug_is_pointed_out_where_its_test_passes_without_it() -> None:
    right = TWICE.format(asked=2, body="x * 2")
    told = found(
        row("bug", TWICE.format(asked=2, body="x + 1"), 7, fixed=right),
        row("right", right),
        row("false", TWICE.format(asked=3, body="x * 2"), 7, fixed=TWICE.format(asked=3, body="2 * x")),
    )
    bug, clean, false = told.at()
    assert [(f.kind, f.bug) for f in bug.findings] == [("bug", 0)]
    assert bug.findings[0].finding.comment.startswith("twice(2) gives 3; promised is 4")
    assert bug.words == len(bug.findings[0].finding.comment.split())
    assert clean.findings == ()
    assert [f.kind for f in false.findings] == ["hallucination"]  # it fails without the bug, too
    assert told.runs == "3 of 3 functions were run"
    assert told.at(-9.0)[0].findings == ()
    assert FoundByRunning.from_dict(told.to_dict()) == told


def test_what_cannot_be_judged_or_run_says_why() -> None:
    told = found(
        row("unknown", TWICE.format(asked=2, body="x + 1"), 7),
        row("elsewhere", "def parts(text: str) -> list[str]:\n    return re.split(SPACE, text)\n"),
    )
    assert [r.findings for r in told.at()] == [(), ()]
    assert "right version is not known" in told.runs
    assert "names of its module" in told.runs


def test_a_function_of_the_library_runs_in_its_module() -> None:
    code, right = inspect.getsource(statistics.median_low), "return data[n // 2 - 1]"
    bad = code.replace(right, "return data[n // 2]")
    line = next(n for n, text in enumerate(code.split("\n"), 1) if right in text)
    about = {"package": STDLIB, "path": "statistics.py", "qualname": "median_low"}
    told = found(row("low", bad, line, **about), row("high", inspect.getsource(statistics.median_high), **about))
    assert told.runs.startswith("1 of 2 functions were run")  # the other is not what is said, and stands alone
    assert [(f.kind, f.bug) for f in told.at()[0].findings] == [("bug", 0)]
