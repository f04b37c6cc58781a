"""What a run cost is in its record, whatever ended the processes that worked on it; holes stand in its report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from custodes.audit import audit_run, write_report
from custodes.job.recording import HOLE, TAKEN
from custodes.ledger import Decision, Ledger
from custodes.ledger.checking import check_ledger

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
