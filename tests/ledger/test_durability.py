"""What was acknowledged is there: after a kill, between two writers, and when the disk is full."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from custodes.ledger import Decision, Ledger, verify_ledger
from custodes.types import InputError

WRITER = """
import sys
from itertools import count
from custodes.ledger import Decision, Ledger

where, run, name, batches = sys.argv[1:]
with Ledger.open(where) as ledger:
    print("ready", flush=True)
    input()
    for batch in range(int(batches)) if int(batches) else count():
        keys = ledger.write(run, [Decision(f"{name}-{batch}-{i}", "what", "why" * batch) for i in range(20)])
        print(*keys, flush=True)
"""


def writers(where: str, run: str, *names: str, batches: int = 0) -> list[subprocess.Popen[str]]:
    """Processes that begin together to write batches of 20, for ever by default.

    Each prints the keys of a batch once they are acknowledged.
    """
    command = [sys.executable, "-c", WRITER, where, run]
    children = [
        subprocess.Popen([*command, name, str(batches)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    return children


def test_a_killed_process_loses_nothing_that_was_acknowledged(where: str) -> None:
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)
    acknowledged: list[str] = []
    moments = random.Random(0)
    for attempt in range(4):
        (child,) = writers(where, run, f"w{attempt}")
        assert child.stdout
        acknowledged += child.stdout.readline().split()  # it is under way
        time.sleep(moments.uniform(0, 0.15))
        child.kill()
        acknowledged += child.communicate()[0].split()
    assert len(acknowledged) >= 80
    assert verify_ledger(where).ok
    with Ledger.open(where) as ledger:
        kept = [d.id for d in ledger.decisions(run)]
        ledger.write(run, [Decision("after", "go on", "nothing is locked")])
    assert set(acknowledged) <= set(kept)
    assert len(kept) % 20 == 0  # a write is kept whole or not at all
    assert verify_ledger(where).rows == len(kept) + 2


def test_two_processes_write_one_chain(where: str) -> None:
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)
    children = writers(where, run, "left", "right", batches=100)
    printed = [child.communicate(timeout=120)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    with Ledger.open(where) as ledger:
        kept = [d.id for d in ledger.decisions(run)]
        assert sorted(kept) == sorted(printed[0] + printed[1])
        assert [d for d in kept if d.startswith("left")] == printed[0]  # each one's order is kept
        assert ledger.verify().rows == 4001


def test_two_processes_make_one_ledger(where: str) -> None:
    """Both find nothing there and both create it."""
    code = "import sys; from custodes.ledger import Ledger; Ledger.open(sys.argv[1]).start_run('test', {}, 0)"
    children = [subprocess.Popen([sys.executable, "-c", code, where]) for _ in range(3)]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    assert verify_ledger(where).rows == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk takes root and the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_and_loses_nothing(small_disk: Path) -> None:
    where = small_disk / "ledger.db"
    written: list[str] = []
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)

        def fill() -> None:
            for i in range(1000):
                written.extend(ledger.write(run, [Decision(f"d{i}", "what", "why " * 2000)]))

        with pytest.raises(InputError) as error:
            fill()
        assert str(error.value).startswith(f"disk full: {where} could not take this write")
        assert "\n" not in str(error.value)
        assert len(written) > 20
        assert [d.id for d in ledger.decisions(run)] == written  # and it can still be read
        subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
        written += ledger.write(run, [Decision("later", "what", "there is space again")])
    assert verify_ledger(where).rows == len(written) + 1
    with Ledger.open(where) as ledger:
        assert [d.id for d in ledger.decisions(run)] == written


def test_a_ledger_cannot_be_made_on_a_full_disk(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * (2 << 20))
    with pytest.raises(InputError, match="disk full"):
        Ledger.open(small_disk / "ledger.db")
    (small_disk / "filler").unlink()
    Ledger.open(small_disk / "ledger.db").close()
    assert verify_ledger(small_disk / "ledger.db").ok
