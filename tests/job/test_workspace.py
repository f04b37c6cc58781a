"""What a run cost is in its record, whatever ended the processes that worked on it; holes stand in its report."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest

from custodes.audit import audit_run, write_report
from custodes.job.options import Output, Use
from custodes.job.recording import HOLE, TAKEN, current
from custodes.job.workspace import Workspace, latest_runs
from custodes.ledger import Decision, Ledger, Run
from custodes.ledger.checking import check_ledger
from custodes.types import InputError

WORK = """
import sys, time
from pathlib import Path
from custodes.ledger import Decision
from custodes.job.workspace import Workspace

with Workspace.open(Path(sys.argv[1]), "test", {}) as work, work.phase("work", "Work"):
    for i in range(int(sys.argv[3]) or 10**9):
        time.sleep(0.02)
        work.tokens_sampled += 10
        work.tokens_trained += 1
        work.write([Decision(f"{sys.argv[2]}-{i}", "piece", "")])
        print(i + 1, flush=True)
"""


def worker(folder: Path, name: str, pieces: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORK, str(folder), name, str(pieces)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_killed_invocations_count(tmp_path: Path) -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for k in range(5):
            child = worker(tmp_path, f"w{k}")
            assert child.stdout
            while int(child.stdout.readline()) < 5 + k:
                pass
            child.kill()
            child.communicate()
    finally:
        busy.kill()
        busy.wait()
    assert worker(tmp_path, "last", 3).wait(120) == 0
    with Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        pieces = sum(d.what == "piece" for d in ledger.decisions(run.id))
        resources = audit_run(ledger, run.id)["resources"]
    assert pieces >= sum(5 + k for k in range(5)) + 3
    assert resources is not None
    assert resources["tokens_sampled"] == 10 * pieces
    assert resources["tokens_trained"] == pieces
    assert resources["invocations"] == 6
    assert resources["seconds"]["work"] >= 0.02 * pieces
    assert [i.get("killed", False) for i in run.invocations] == [True] * 5 + [False]
    assert all(i["seconds"] >= 0.1 for i in run.invocations[:-1])


def test_a_hole_stands_in_the_report_and_before_verify(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        run = ledger.start_run("test", {}, 0)
        ledger.write(
            run, [Decision("h", HOLE, "checkpoint c follows row 9.", "c"), Decision("t", TAKEN, "lines 3 to 4.")]
        )
        ledger.end_run(run)
        page, _ = write_report(ledger, run, tmp_path / "report")
        audit = audit_run(ledger, run)
    assert "checkpoint c follows row 9." in audit.missing
    assert not audit["provenance"]["ledger"]["ok"]
    assert "checkpoint c follows row 9." in page.read_text()
    assert "lines 3 to 4." in page.read_text()
    found = check_ledger(tmp_path / "ledger.db")
    assert found.problems == ["checkpoint c follows row 9."]
    assert found.notes == ["lines 3 to 4."]


@dataclass(frozen=True)
class Inner:
    epochs: int = 1


@dataclass(frozen=True)
class Options:
    out: Output = Path("out")
    seed: int = 0
    workers: Annotated[int, Use.MEANS] = 1
    training: Inner = field(default_factory=Inner)


def runs(folder: Path) -> list[Run]:
    with Ledger.open(folder / "ledger.db", read_only=True) as ledger:
        return ledger.runs()


def test_a_folder_holds_one_run_whatever_its_means(tmp_path: Path) -> None:
    for workers in (1, 2):
        with Workspace.open(tmp_path, "test", Options(workers=workers)) as work:
            work.write([Decision("d", "piece", "")])
    (run,) = runs(tmp_path)
    assert run.config == {"seed": 0, "training": {"epochs": 1}}
    assert len(run.invocations) == 2
    for other, said in ((Options(seed=1), "seed = 0, now it is 1"), (Options(training=Inner(2)), "epochs = 1, now")):
        with pytest.raises(InputError, match=f"holds a run with {said}"), Workspace.open(tmp_path, "test", other):
            pass
    with (
        pytest.raises(InputError, match="holds a run on other rows"),
        Workspace.open(tmp_path, "test", Options(), contents={"rows": "ab12"}),
    ):
        pass


def test_a_run_that_recorded_nothing_does_not_bind(tmp_path: Path) -> None:
    def fails(options: Options, begin: bool) -> None:
        with Workspace.open(tmp_path, "test", options, begin=begin):
            raise InputError("there is no such model.")

    for seed, begin in ((0, True), (1, False), (2, True)):
        with pytest.raises(InputError, match="no such model"):
            fails(Options(seed=seed), begin)
    assert [(run.config["seed"], run.status) for run in runs(tmp_path)] == [(0, "failed"), (2, "failed")]


@pytest.mark.parametrize("refused", [{"steps": 1}, {"steps": 2}])
def test_a_command_that_was_refused_does_not_hide_the_run(tmp_path: Path, refused: dict[str, int]) -> None:
    with Workspace.open(tmp_path, "test", {"steps": 1}) as work:
        work.write([Decision("half", "piece", "")])
    (tmp_path / "model").touch()
    with Ledger.open(tmp_path / "ledger.db") as ledger:  # another process held the folder, say, or an option was wrong
        ledger.end_run(ledger.start_run("test", refused, 0), "failed")
        assert latest_runs(ledger)[0].id == work.run  # the one that reports and comparisons are about
    with Workspace.open(tmp_path, "test", {"steps": 1}) as again:
        assert again.run == work.run
    with pytest.raises(InputError, match="steps = 1, now it is 2"), Workspace.open(tmp_path, "test", {"steps": 2}):
        pass


def test_what_no_run_made_is_not_overwritten_and_leaves_no_run(tmp_path: Path) -> None:
    (tmp_path / "model").touch()
    with pytest.raises(InputError, match="did not make"), Workspace.open(tmp_path, "test", {}, made=["model"]):
        pass
    assert runs(tmp_path) == []
    (tmp_path / "model").unlink()
    for _ in range(2):
        with Workspace.open(tmp_path, "test", {}, made=["model"]):
            (tmp_path / "model").touch()
    assert [(run.status, len(run.invocations)) for run in runs(tmp_path)] == [("completed", 2)]


def test_several_runs_of_a_recipe_are_each_taken_up(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        with Workspace.open(tmp_path, "test", {"name": name}, several=True) as work:
            work.write([Decision(name, "piece", "")])
    assert {run.config["name"]: len(run.invocations) for run in runs(tmp_path)} == {"a": 2, "b": 1}
    assert current() is None
