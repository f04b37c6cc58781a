"""Runs: nothing repeated, nothing lost, nothing waited for for ever; sandboxes here are made up, to break on demand."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from played import MADE

from custodes.environments.sandbox import CommandResult, FileState
from custodes.gaming import EnvironmentOptions, Loop, Records, Runner, ScriptedPolicy
from custodes.gaming.model import ModelPolicy
from custodes.gaming.policies import Conversation, Drawn, EnginePolicy, Policy, attempt_seed
from custodes.gaming.record import read_index, read_lines
from custodes.gaming.run import _jobs_of, open_policy
from custodes.gaming.variants import Variant
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.types import Episode, InputError, Message, Sampling, Task

POLITICAL, FLATTERY = "political-sycophancy", "tool-flattery"


class MadeUpSandbox:
    """Answers everything with nothing. ``faults`` by command: an exception to raise, or seconds to hang."""

    def __init__(self, faults: Mapping[str, Any] | None = None, live: set[MadeUpSandbox] | None = None) -> None:
        self.faults, self.live = faults or {}, live if live is not None else set()
        self.live.add(self)

    def run(self, command: str, seconds: float | None = None) -> CommandResult:
        for words, fault in self.faults.items():
            if words in command:
                if isinstance(fault, BaseException):
                    raise fault
                time.sleep(fault)
        return CommandResult("", "", 0, False, False, 0.0)

    def snapshot(self) -> dict[str, FileState]:
        return {}

    def clean_room(self, files: Mapping[str, bytes], command: str, seconds: float | None = None) -> CommandResult:
        return CommandResult("0\n", "", 0, False, False, 0.0)

    def close(self) -> None:
        self.live.discard(self)


def episodes(folder: Path) -> list[dict[str, Any]]:
    return list(read_lines(folder / "episodes.jsonl"))


def run(folder: Path, policy: Any, stage: str, n: int, **more: Any) -> None:
    runner = Runner(policy, MADE, **more)
    with Records(folder, [POLITICAL, FLATTERY]) as records:
        runner.run(_jobs_of(MADE[stage], n, "held-out", more.get("seed", 0), records.done[stage]), records.append)


# ---------------------------------------------------------------- what is recorded


def test_every_episode_is_one_line(tmp_path: Path):
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 40)
    lines = episodes(tmp_path)
    assert sorted(line["index"] for line in lines) == list(range(40))
    assert len({line["variant"] for line in lines}) == 40
    assert all(line["gamed"] and line["category"] == "agreed-with-user" for line in lines)
    assert {"task", "transcript", "category", "reward", "caught"} <= lines[0].keys()
    assert [m["role"] for m in lines[0]["transcript"]] == ["system", "user", "assistant"]


def test_no_variant_is_counted_again_before_all_are_counted_once(tmp_path: Path):
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 600)
    attempts = {line["index"]: line["attempt"] for line in episodes(tmp_path)}
    assert len(attempts) == 600
    assert all(attempt == index // 512 for index, attempt in attempts.items())


def test_episodes_of_one_variant_are_played_side_by_side():
    jobs = list(_jobs_of(MADE[POLITICAL], 1100, "held-out", 0, {512, 3}))
    assert sorted(job.index for job in jobs) == sorted(set(range(1100)) - {512, 3})
    numbers = [job.number for job in jobs]
    assert len([k for k, n in enumerate(numbers) if k == 0 or numbers[k - 1] != n]) == len(set(numbers)) == 512
    assert [job.index for job in jobs[:4]] == [0, 1024, 1, 513]


def test_the_index_says_what_the_lines_say(tmp_path: Path):
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 30)
    rows, lines = read_index(tmp_path / "episodes.index"), episodes(tmp_path)
    assert rows["index"].tolist() == [line["index"] for line in lines]
    data = (tmp_path / "episodes.jsonl").read_bytes()
    for row, line in zip(rows, lines, strict=True):
        assert json.loads(data[row["offset"] : row["offset"] + row["length"]]) == line


# ---------------------------------------------------------------- killed and taken up again


def test_what_is_done_is_not_done_again(tmp_path: Path):
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 25)
    before = (tmp_path / "episodes.jsonl").read_bytes()
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 60)
    after = (tmp_path / "episodes.jsonl").read_bytes()
    assert after.startswith(before)
    assert sorted(line["index"] for line in episodes(tmp_path)) == list(range(60))


@pytest.mark.parametrize("cut", [1, 7, 200, 5000])
@pytest.mark.parametrize("index", ["kept", "lost", "half a row"])
def test_half_a_line_is_cut_off_and_played_again(tmp_path: Path, cut: int, index: str):
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 20)
    whole = {line["index"]: line["transcript"] for line in episodes(tmp_path)}
    path, marks = tmp_path / "episodes.jsonl", tmp_path / "episodes.index"
    os.truncate(path, path.stat().st_size - cut)
    if index == "lost":
        marks.unlink()
    elif index == "half a row":
        os.truncate(marks, marks.stat().st_size - 3)
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 20)
    assert {line["index"]: line["transcript"] for line in episodes(tmp_path)} == whole
    assert len(episodes(tmp_path)) == len(read_index(marks)) == 20


def test_a_run_killed_at_any_moment_goes_on(tmp_path: Path):
    """SIGKILL, again and again, until it is through: each episode is there once."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from test_run import *\n"
        f"run(Path(sys.argv[1]), ScriptedPolicy('flatterer'), {POLITICAL!r}, 3000)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    kills = 0
    for _ in range(40):
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        size = (tmp_path / "episodes.jsonl").stat().st_size if (tmp_path / "episodes.jsonl").exists() else 0
        while process.poll() is None and kills < 4:
            now = (tmp_path / "episodes.jsonl").stat().st_size if (tmp_path / "episodes.jsonl").exists() else 0
            if now > size + 300_000:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        if process.wait(timeout=300) == 0:
            break
    assert kills >= 1
    indices = [line["index"] for line in episodes(tmp_path)]
    assert sorted(indices) == list(range(3000))
    assert len(read_index(tmp_path / "episodes.index")) == 3000


def test_a_full_disk_loses_nothing(tmp_path: Path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = episodes(tmp_path)
    assert 0 < len(kept) < 100
    assert (tmp_path / "episodes.jsonl").read_bytes().endswith(b"\n")
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 100)
    assert episodes(tmp_path)[: len(kept)] == kept
    assert sorted(line["index"] for line in episodes(tmp_path)) == list(range(100))


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path):
    (tmp_path / "episodes.jsonl").write_text('{"hello": 1}\n')
    with pytest.raises(InputError, match=r"episodes\.jsonl"):
        Records(tmp_path, [POLITICAL])


# ---------------------------------------------------------------- what hangs and crashes


def opened(faults: Mapping[str, Any] | None, live: set[MadeUpSandbox]) -> Any:
    return lambda variant, read_only: MadeUpSandbox(faults, live)


def poem_of(index: int) -> str:
    """What only the flatterer's command in episode ``index`` holds: its variant's poem."""
    (job,) = [j for j in _jobs_of(MADE[FLATTERY], index + 1, "held-out", 0, set()) if j.index == index]
    return MADE[FLATTERY].variant("held-out", job.number).truth["poem"]


def test_a_crash_is_recorded_and_the_others_go_on(tmp_path: Path):
    live: set[MadeUpSandbox] = set()
    fault = {poem_of(3): RuntimeError("the walls came down")}
    run(tmp_path, ScriptedPolicy("flatterer"), FLATTERY, 12, open_sandbox=opened(fault, live))
    failures = {line["index"]: line["failure"] for line in episodes(tmp_path) if line["failure"]}
    assert 3 in failures
    assert all("walls came down" in why for why in failures.values())
    assert sorted(line["index"] for line in episodes(tmp_path)) == list(range(12))
    time.sleep(0.1)
    assert not live


def test_a_hung_episode_is_recorded_and_the_others_go_on(tmp_path: Path):
    began = time.monotonic()
    fault = {poem_of(2): 60.0}
    loop = Loop(workers=1, patience=0.5)
    run(tmp_path, ScriptedPolicy("flatterer"), FLATTERY, 10, open_sandbox=opened(fault, set()), loop=loop)
    assert time.monotonic() - began < 40
    hung = [line for line in episodes(tmp_path) if line["failure"].startswith("hung")]
    assert 2 in [line["index"] for line in hung]
    assert sorted(line["index"] for line in episodes(tmp_path)) == list(range(10))


def test_what_ends_the_run_ends_its_sandboxes(tmp_path: Path):
    live: set[MadeUpSandbox] = set()

    def stop(record: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    runner = Runner(ScriptedPolicy("flatterer"), MADE, open_sandbox=opened({}, live))
    with pytest.raises(KeyboardInterrupt):
        runner.run(_jobs_of(MADE[FLATTERY], 50, "held-out", 0, set()), stop)
    time.sleep(0.3)
    assert not live


# ---------------------------------------------------------------- models


class Parrot:
    """An engine that answers by the prompt alone, and notes what it was asked for."""

    def __init__(self, context: int = 10**9, reply: str = "({letter}) it is.", pause: float = 0.0) -> None:
        self.context, self.reply, self.pause = context, reply, pause
        self.batches: list[int] = []
        self.samplings: list[Sampling] = []

    def generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Episode]:
        import numpy as np

        self.batches.append(len(tasks))
        self.samplings.append(sampling)
        time.sleep(self.pause)
        for task in tasks:
            if (length := sum(len(m.content) for m in task.messages)) > self.context:
                raise InputError(f"task {task.id}: its prompt of {length} tokens exceeds the context.")
        none = np.zeros(0)
        return [
            Episode("e", t, (*t.messages, Message("assistant", (prefixes[i] if prefixes else "") + self.say(t, sampling))),
                    none.astype(np.int32), none.astype(bool), none.astype(np.float32), "stop", "parrot")
            for i, t in enumerate(tasks)
        ]  # fmt: skip

    def say(self, task: Task, sampling: Sampling) -> str:
        return self.reply.format(letter="AB"[hash((task.messages[-1].content, sampling.seed)) % 2])

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[Any]:
        raise NotImplementedError


def model(parrot: Parrot, batch: int = 8) -> EnginePolicy:
    return EnginePolicy(parrot, "parrot", Sampling(max_tokens=16), batch)


def test_a_model_is_asked_for_full_batches(tmp_path: Path):
    parrot = Parrot()
    run(tmp_path, model(parrot), POLITICAL, 64)
    assert len(episodes(tmp_path)) == 64
    assert sum(parrot.batches) == 64
    assert max(parrot.batches) == 8
    assert len(parrot.batches) <= 12


def test_sampling_and_sandboxes_overlap(tmp_path: Path):
    """32 episodes of two turns, 0.1 s of sampling a batch of 8 and 0.1 s a command: one after the other takes longer."""
    parrot = Parrot(pause=0.1)
    parrot.say = lambda task, sampling: "Done." if len(task.messages) > 2 else "<bash>slow"  # type: ignore[method-assign]
    began = time.monotonic()
    run(tmp_path, model(parrot), FLATTERY, 32, open_sandbox=opened({"slow": 0.1}, set()), loop=Loop(workers=8))
    apart = 0.1 * len(parrot.batches) + 32 * 0.1 / 8
    assert len(episodes(tmp_path)) == 32
    assert all(line["calls"] == 1 and line["well_formed"] for line in episodes(tmp_path))
    assert time.monotonic() - began < apart + 5  # a busy machine is no defect; that it ends is what is tested
    assert max(parrot.batches) == 8


def test_what_is_sampled_does_not_depend_on_the_batch(tmp_path: Path):
    answers = []
    for batch in (1, 5, 32):
        (folder := tmp_path / str(batch)).mkdir()
        run(folder, model(Parrot(), batch), POLITICAL, 40)
        answers.append({line["index"]: line["answer"] for line in episodes(folder)})
    assert answers[0] == answers[1] == answers[2]


def test_a_model_of_this_process_says_what_it_would_say_in_batches(tmp_path: Path, tiny_model: Path):
    """Its replies come one by one and keep what was computed; an engine of batches is asked for the same."""
    shutil.copytree(tiny_model, tmp_path / "long")
    settings = json.loads((path := tmp_path / "long" / "config.json").read_text())
    path.write_text(json.dumps(settings | {"max_position_embeddings": 4096}))
    engine, sampling, told = TorchEngine(load(path.parent, dtype="float32"), max_batch=4), Sampling(max_tokens=12), []
    for policy in (ModelPolicy(engine, "m", sampling, 4), EnginePolicy(engine, "m", sampling, 4)):
        (folder := tmp_path / type(policy).__name__).mkdir()
        run(folder, policy, FLATTERY, 6, open_sandbox=opened({}, set()))
        told.append({line["index"]: (line["transcript"], line["failure"], line["cost"]) for line in episodes(folder)})
    assert told[0] == told[1]
    assert len(told[0]) == 6


def test_a_model_that_can_answer_nothing_stops_the_run(tmp_path: Path, tiny_model: Path):
    policy = ModelPolicy(TorchEngine(load(tiny_model, dtype="float32")), "m", Sampling(max_tokens=100_000), 4)
    with pytest.raises(InputError, match="exceed the context"):
        run(tmp_path, policy, FLATTERY, 3, open_sandbox=opened({}, set()))
    assert not (tmp_path / "episodes.jsonl").exists()


def test_another_attempt_at_a_variant_is_sampled_anew():
    assert len({attempt_seed(0, attempt) for attempt in range(100)}) == 100
    assert attempt_seed(0, 1) != attempt_seed(1, 1)


def test_one_conversation_that_is_too_long_does_not_stop_the_others(tmp_path: Path):
    lengths = sorted(sum(len(m.content) for m in _opening(i)) for i in range(16))
    context = lengths[-1] - 1
    run(tmp_path, model(Parrot(context=context)), POLITICAL, 16)
    failures = [line for line in episodes(tmp_path) if line["failure"]]
    assert len(failures) == sum(length > context for length in lengths) < 8
    assert "exceeds the context" in failures[0]["failure"]


def test_a_model_that_refuses_everything_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="exceeds the context"):
        run(tmp_path, model(Parrot(context=3)), POLITICAL, 16)
    assert not (tmp_path / "episodes.jsonl").exists()


def test_a_stop_text_that_was_cut_off_is_put_back(tmp_path: Path):
    parrot = Parrot(reply="<bash>ls")
    run(tmp_path, model(parrot), FLATTERY, 1, open_sandbox=opened({}, set()))
    (line,) = episodes(tmp_path)
    assert parrot.samplings[0].stop == ("</bash>",)
    assert line["transcript"][2]["content"] == "<bash>ls</bash>"
    assert "more than 20 times" in line["failure"]


def test_the_scratchpad_prefix_reaches_the_model_once(tmp_path: Path):
    options = EnvironmentOptions(scratchpad_prefix="I will ask")
    run(
        tmp_path,
        model(Parrot(reply=" them.</cot>Hello.")),
        FLATTERY,
        2,
        open_sandbox=opened({}, set()),
        options=options,
    )
    assert all(line["transcript"][2]["content"] == "<cot>I will ask them.</cot>Hello." for line in episodes(tmp_path))


def _opening(index: int) -> Iterable[Message]:
    from custodes.gaming import gaming_task

    (job,) = [j for j in _jobs_of(MADE[POLITICAL], index + 1, "held-out", 0, set()) if j.index == index]
    return gaming_task(MADE[POLITICAL], "held-out", job.number).messages


# ---------------------------------------------------------------- which policy


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("scripted:honst", ["honst", "honest"]),
        ("endpoint:http://localhost:1/v1", ["endpoint:URL#MODEL"]),
        ("endpoint:localhost#m", ["http://"]),
    ],
)
def test_a_wrong_policy_is_refused(spec: str, words: list[str]):
    with pytest.raises(InputError) as refused:
        open_policy(spec, Sampling())
    assert all(word in str(refused.value) for word in words)


def test_native_tools_are_for_endpoints():
    with pytest.raises(InputError, match="native"):
        open_policy("some-model", Sampling(), tools="native")


def test_scripted_policies_know_the_five_stages_only():
    variant = Variant(MADE[POLITICAL].variant("held-out", 0).spec, stage="own", id="held-out-0000")
    with pytest.raises(InputError, match="own"):
        ScriptedPolicy("honest").replies([Conversation(variant, (), 0)])


def test_threads_end_with_the_run(tmp_path: Path):
    before = threading.active_count()
    for k in range(3):
        (folder := tmp_path / str(k)).mkdir()
        run(folder, ScriptedPolicy("flatterer"), POLITICAL, 5)
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_failures_of_the_policy_are_failures_of_the_episode(tmp_path: Path):
    class Broken(Policy):
        name, batch = "broken", 4

        def replies(self, conversations: Sequence[Conversation]) -> list[Drawn]:
            return [Drawn("", "the endpoint gave no answer after all retries")] * len(conversations)

    run(tmp_path, Broken(), FLATTERY, 5, open_sandbox=opened({}, set()))
    assert [line["failure"] for line in episodes(tmp_path)] == ["the endpoint gave no answer after all retries"] * 5


def test_waiting_for_a_free_worker_is_no_hanging(tmp_path: Path):
    """Eight commands of 0.2 s, one worker, a patience of 1 s for each: none has hung."""
    live: set[MadeUpSandbox] = set()
    loop = Loop(workers=1, patience=1.0)
    parrot = Parrot()
    parrot.say = lambda task, sampling: "Done." if len(task.messages) > 2 else "<bash>slow"  # type: ignore[method-assign]
    run(tmp_path, model(parrot), FLATTERY, 8, open_sandbox=opened({"slow": 0.2}, live), loop=loop)
    assert [line["failure"] for line in episodes(tmp_path)] == [""] * 8


def test_an_index_of_another_format_or_numbering_is_made_again_from_the_lines(tmp_path: Path):
    """Facts and stages were positions in lists that grew: an old index must not be read as other facts."""
    run(tmp_path, ScriptedPolicy("flatterer"), POLITICAL, 20)
    marks = tmp_path / "episodes.index"
    now = read_index(marks)
    head = len(marks.read_bytes().partition(b"\n")[0]) + 1
    for damaged in (
        marks.read_bytes()[head:],
        b'{"format": 1}\n' + marks.read_bytes()[head:],
        marks.read_bytes()[: head // 2],
    ):
        marks.write_bytes(damaged)
        with pytest.raises(InputError, match="another version"):
            read_index(marks)
        with Records(tmp_path, [POLITICAL]) as records:
            assert records.rows().tolist() == now.tolist()
    with Records(tmp_path, ["nudged-rubric", POLITICAL]) as records:
        assert set(records.rows()["stage"].tolist()) == {1}
        assert records.rows()["facts"].tolist() == now["facts"].tolist()
