"""Which test exercises which function is found by running them; the result is the same after an interruption."""

import contextlib
import importlib
import json
import signal
import time
from pathlib import Path

import pytest
from tiny_package import SOURCE, tiny_package

from custodes.critic import corpus
from custodes.critic.corpus import (
    CorpusPart,
    CoverageLimits,
    Function,
    corpus_parts,
    cover,
    extract,
    read_corpus,
)
from custodes.critic.examples import write_json_lines
from custodes.critic.inside.choose import choose
from custodes.critic.inside.units import TooSlow, forked, limit
from custodes.critic.workshop import Workshop
from custodes.environments.sandbox import SandboxFailure
from custodes.job.parts import Parts
from custodes.types import InputError


@pytest.fixture(scope="module")
def covered(sandboxes: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Function]:
    package = tiny_package()
    found = cover(package, extract(package), Parts(tmp_path_factory.mktemp("parts")), CoverageLimits())
    return {f.qualname: f for f in found}


def units(f: Function) -> set[str]:
    return {test.unit.split("::", 1)[1] for test in f.tests}


def test_functions_meet_the_tests_that_exercise_them(covered: dict[str, Function]):
    assert units(covered["total"]) == {"test_total"}
    assert units(covered["Counter.up"]) == {"TestCounter::test_up"}
    assert units(covered["Base.__init__"]) == {"TestCounter::test_up"}
    assert units(covered["clip"]) == {"tiny.small::tiny.small.clip", *(f"test_clip[{v}]" for v in (-1, 0, 2))}


def test_what_no_test_runs_has_none(covered: dict[str, Function]):
    assert covered["nobody"].tests == ()


def test_failing_and_skipped_tests_are_not_used(covered: dict[str, Function]):
    every = {unit for f in covered.values() for unit in units(f)}
    assert not every & {"test_wrong", "test_skipped"}


def test_lines_count_from_the_function(covered: dict[str, Function]):
    lines = covered["total"].code.split("\n")
    (test,) = covered["total"].tests
    assert [lines[n - 1].strip() for n in test.lines] == [
        "result = 0",
        "for value in values:",
        "result += value",
        "return result",
    ]


def test_origin_and_licence_are_kept(covered: dict[str, Function], tmp_path: Path):
    write_json_lines(tmp_path / "corpus.jsonl", covered.values())
    read = list(read_corpus(tmp_path / "corpus.jsonl"))
    assert read == list(covered.values())
    assert {(f.licence, f.origin, f.path, f.module) for f in read} == {
        ("MIT", "made here", "tiny/small.py", "tiny.small")
    }
    assert all(SOURCE.split("\n")[f.line - 1].strip().startswith(("def", "@")) for f in read)


def test_an_interrupted_run_goes_on_to_the_same_result(
    sandboxes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tiny_package()
    parts = corpus_parts(package)
    assert [bool(part.modules) for part in parts] == [True, False]
    whole = cover(package, extract(package), Parts(tmp_path / "whole"), CoverageLimits())
    real, done = Workshop.do, []

    def breaks(self: Workshop, program: str, job: dict, seconds: float = 0) -> object:
        done.append(job)
        if len(done) == 2:
            raise KeyboardInterrupt
        return real(self, program, job, seconds)

    monkeypatch.setattr(Workshop, "do", breaks)
    with pytest.raises(KeyboardInterrupt):
        cover(package, extract(package), Parts(tmp_path / "parts"), CoverageLimits())
    assert len(list((tmp_path / "parts").glob("*.json"))) == 1
    again = cover(package, extract(package), Parts(tmp_path / "parts"), CoverageLimits())
    assert [job["modules"] for job in done] == [("tiny.small",), (), ()]
    assert [(f.id, {t.unit for t in f.tests}) for f in again] == [(f.id, {t.unit for t in f.tests}) for f in whole]


def test_the_file_is_read_or_refused_with_its_line(tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"id": "x"}) + "\n")
    with pytest.raises(InputError, match="line 1"):
        list(read_corpus(path))
    with pytest.raises(InputError, match="custodes critic corpus makes one"):
        list(read_corpus(tmp_path / "none.jsonl"))


def test_few_cheap_tests_that_cover_much_are_chosen():
    rows = [
        {"unit": "slow", "seconds": 1.0, "breadth": 1, "lines": [1, 2, 3, 4]},
        {"unit": "fast", "seconds": 0.01, "breadth": 1, "lines": [1, 2]},
        {"unit": "same", "seconds": 0.02, "breadth": 1, "lines": [1, 2]},
        {"unit": "rest", "seconds": 0.01, "breadth": 1, "lines": [3, 4]},
    ]
    assert [r["unit"] for r in choose(rows, 2)] == ["fast", "rest"]
    assert [r["unit"] for r in choose(rows, 9)][2:] == ["same", "slow"]


def test_a_part_has_one_name():
    assert CorpusPart(("a",), ()).name != CorpusPart((), ("a",)).name
    assert corpus.CorpusPart(("a",)).name == CorpusPart(("a",)).name


def test_a_job_of_any_size_arrives_whole(sandboxes: None):
    long = "é\\n'$x\"" * 150_000
    with Workshop(tiny_package(), {"inside/echo.py": "import sys; print(open(sys.argv[1]).read())"}) as workshop:
        assert workshop.do("echo", [long, 1]) == [long, 1]


def test_after_a_failure_the_next_job_gets_a_new_sandbox(sandboxes: None):
    programs = {"inside/fails.py": "print('no JSON')", "inside/works.py": "print(7)"}
    with Workshop(tiny_package(), programs) as workshop:
        with pytest.raises(SandboxFailure, match="running tiny failed"):
            workshop.do("fails", {})
        assert workshop.do("works", {}) == 7


def test_a_slow_test_is_not_stopped_where_it_holds_a_lock_of_coverage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "watcher.py").write_text(
        "import threading, time\nlock = threading.Lock()\n"
        "def watch(work):\n    with_lock = lock.acquire()\n    work()\n    lock.release()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    watcher = importlib.import_module("watcher")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGPROF, signal.SIGALRM)}

    def busy(seconds: float) -> None:
        ends = time.process_time() + seconds
        while time.process_time() < ends:
            pass

    def watched() -> None:
        watcher.watch(lambda: busy(0.3))  # far beyond its time, in what the spared code calls
        released.append(not watcher.lock.locked())
        busy(30)

    released: list[bool] = []
    try:
        with pytest.raises(TooSlow), limit(0.05, spared=str(tmp_path)):
            watched()
        assert released == [True]
        with pytest.raises(TooSlow), limit(0.05):
            watcher.watch(lambda: busy(30))
        assert watcher.lock.locked()  # what happens to a lock otherwise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_what_catches_everything_and_only_waits_is_ended_with_its_process():
    """Uses no processor and swallows TooSlow, as an event loop does: only the end of the process is left."""

    def stubborn() -> str:
        with limit(30, clock=0.2, again=0.1):
            while True:
                with contextlib.suppress(BaseException):
                    time.sleep(30)

    began = time.monotonic()
    assert forked(stubborn, 60) is None
    assert time.monotonic() - began < 30


def test_what_only_waits_is_stopped_by_the_clock():
    def waits() -> str:
        try:
            with limit(30, clock=0.2, again=0.1):
                time.sleep(30)
        except TooSlow:
            return "stopped"
        return "slept"

    assert forked(waits, 60) == "stopped"
