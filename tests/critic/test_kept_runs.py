"""What did not change is not run again, and a finding that is kept is shown only where its test still fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from custodes.critic.review import running
from custodes.critic.review.running import Alongside, Examined, RunOptions, examine

BRIEF = RunOptions(inputs=5, seconds=2)
WRONG = 'def twice(x: int) -> int:\n    """Two times x.\n\n    >>> twice(3)\n    6\n    """\n    return x + 2\n'
RIGHT = WRONG.replace("x + 2", "x * 2").replace("twice", "double")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Programs and functions that the sandbox was asked for."""
    seen: list[str] = []
    real = running.Workshop.do

    def do(self, program: str, job, seconds: float = 600.0):
        names = [f["qualname"] for file in job.get("files", ()) for f in file.get("functions", ())]
        seen.append(f"{program} {' '.join(names)}".strip())
        return real(self, program, job, seconds)

    monkeypatch.setattr(running.Workshop, "do", do)
    return seen


@pytest.fixture
def review(tmp_path: Path, asked: list[str]) -> Callable[..., Examined]:
    def examined(**more) -> Examined:
        asked.clear()
        files = {str(path): path.read_text() for path in sorted((tmp_path / "src").rglob("*.py"))}
        return examine(files, BRIEF, cache=tmp_path / "cache", **more)

    (tmp_path / "src").mkdir()
    return examined


def told(examined: Examined) -> tuple[list[tuple[str, bool, int]], list[str]]:
    runs = [(run.name, run.ran, run.inputs) for run in examined.runs]
    return runs, sorted(r.finding.comment for own in examined.remarks.values() for _, r in own)


def test_only_what_changed_is_run_again(tmp_path: Path, review: Callable[..., Examined], asked: list[str]) -> None:
    (tmp_path / "src/a.py").write_text(WRONG)
    (tmp_path / "src/b.py").write_text(RIGHT)
    first = review()
    assert asked == ["examine twice double"]
    again = review()
    assert asked == ["confirm"]  # the finding's test, and nothing else
    assert told(again) == told(first)
    assert len(told(again)[1]) == 1
    (tmp_path / "src/b.py").write_text(RIGHT + "\n\ndef half(x: int) -> int:\n    return x // 2\n")
    review()
    assert asked == ["confirm", "examine double half"]
    (tmp_path / "src/a.py").write_text(WRONG.replace("x + 2", "2 * x"))
    assert told(review())[1] == []
    assert asked == ["examine twice"]
    review()
    assert asked == []  # nothing is new and nothing was found: no sandbox is started


def test_a_module_that_is_imported_counts_and_another_does_not(
    tmp_path: Path, review: Callable[..., Examined], asked: list[str]
) -> None:
    package = tmp_path / "src" / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text("RATE = 2\n")
    (package / "other.py").write_text("RATE = 3\n")
    (package / "sums.py").write_text("from .rates import RATE\n\n\n" + RIGHT.replace("x * 2", "x * RATE"))
    assert told(review())[1] == []
    review()
    assert asked == []
    (package / "other.py").write_text("RATE = 4\n")
    review()
    assert asked == []
    (package / "rates.py").write_text("RATE = 5\n")
    (comment,) = told(review())[1]
    assert asked == ["examine double"]
    assert "gives 15" in comment


def test_a_finding_that_does_not_fail_any_more_is_looked_for_anew(
    tmp_path: Path, review: Callable[..., Examined], asked: list[str]
) -> None:
    (tmp_path / "src/a.py").write_text(WRONG)
    review()
    for file in (tmp_path / "cache/runs").iterdir():
        row = json.loads(file.read_text())
        for one in row["found"]:
            one["test"] = one["test"].replace("== 6", "== 5")  # as if it had been flaky
        file.write_text(json.dumps(row))
    assert len(told(review())[1]) == 1
    assert asked == ["confirm", "examine twice"]


def test_other_options_tests_and_no_cache_run_anew(
    tmp_path: Path, review: Callable[..., Examined], asked: list[str]
) -> None:
    (tmp_path / "src/a.py").write_text(RIGHT)
    review()
    files = {str(tmp_path / "src/a.py"): RIGHT}
    asked.clear()
    examine(files, RunOptions(inputs=6, seconds=2), cache=tmp_path / "cache")
    examine(files, BRIEF)
    assert asked == ["examine double", "examine double"]
    (tmp_path / "test_a.py").write_text("from a import double\n\n\ndef test_a():\n    assert double(1) == 2\n")
    review(alongside=Alongside(tests=(str(tmp_path / "test_a.py"),)))
    assert asked[0] == "examine double"
    (tmp_path / "cache" / "runs" / "broken.json").write_text("{")
    for file in (tmp_path / "cache" / "runs").iterdir():
        file.write_text("{")
    review()
    assert asked == ["examine double"]
