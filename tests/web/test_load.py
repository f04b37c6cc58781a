"""Many at once, on two servers of which one is killed: nothing that anybody was told is lost, doubled or changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import postgres

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "annotation_server.py"


def test_what_people_were_told_is_what_the_ledger_holds_when_a_server_is_killed(postgres_server: postgres.Server):
    size = {"people": 16, "seconds": 6, "think": 0.5, "kills": 1, "servers": 2}
    options = [part for name, value in size.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, str(BENCHMARK), "--json", "--db", postgres_server.new_database(), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == 1
    assert sum(found["tried again"].values()) > 0
    assert found["judgments"] >= 16
    assert (found["lost"], found["doubled"], found["changed"], found["unknown"], found["chain"]) == (0, 0, 0, 0, True)
