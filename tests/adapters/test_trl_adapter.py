"""TRL itself trains the tiny model, and the ledger tells what it did; a ledger that fails does not touch it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from custodes.adapters.outside_run import outside_run, run_under_way
from custodes.adapters.trl import RecordedTraining, recorded_reward
from custodes.audit import audit_run
from custodes.audit.sections.optimisation import PolicyStep
from custodes.cli import main
from custodes.ledger import Ledger
from custodes.ledger.checking import check_ledger
from custodes.types import InputError

STEPS = 12


def long(completions: list[Any], **_: Any) -> list[float]:
    return [len(c[0]["content"]) / 10 for c in completions]


async def mentions(completions: list[Any], topic: list[str], **_: Any) -> list[float | None]:
    return [None if t == "0" else float(t in c[0]["content"]) for c, t in zip(completions, topic, strict=True)]


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of a few steps of GRPO with two rewards, one of them a coroutine."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("trl")
    config = trl.GRPOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=6,
        max_steps=STEPS,
        beta=0.01,
        logging_steps=1,
        use_cpu=True,
        report_to=[],
        save_steps=6,
        save_total_limit=1,
        seed=3,
        disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )
    rows = [{"prompt": [{"role": "user", "content": f"Say {i}."}], "topic": str(i % 3)} for i in range(16)]
    where = folder / "ledger.db"
    trl.GRPOTrainer(
        model=str(tiny_model),
        reward_funcs=[recorded_reward(long, where), recorded_reward(mentions, where)],
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        callbacks=[RecordedTraining(where)],
    ).train()
    return where


def test_what_trl_did_is_in_the_ledger(trained: Path) -> None:
    with Ledger.open(trained, read_only=True) as ledger:
        (run,) = ledger.runs()
        episodes, scores = list(ledger.episodes(run.id)), list(ledger.scores(run.id))
        logs = [e.metrics for e in ledger.evaluations(run.id, "trainer_log")]
        steps = PolicyStep.recorded(ledger, run.id, "trl")
    assert (run.recipe, run.status, run.seed) == ("trl", "completed", 3)
    assert run.config["options"]["max_completion_length"] == 6
    assert len(episodes) == 8 * STEPS
    assert {e.policy for e in episodes} == {f"step {i}" for i in range(STEPS)}
    by_scorer = {name: {s.episode: s.value for s in scores if s.scorer == name} for name in ("long", "mentions")}
    assert by_scorer["long"] == pytest.approx({e.id: len(e.completion) / 10 for e in episodes})
    asked = {e.id: e.task.metadata["topic"] for e in episodes}
    assert by_scorer["mentions"].keys() == {id for id, topic in asked.items() if topic != "0"}
    of_step = [[by_scorer["long"][e.id] for e in episodes if e.policy == f"step {i}"] for i in range(STEPS)]
    logged = [log["rewards/long/mean"] for log in logs if "reward" in log]
    assert logged == pytest.approx([sum(values) / len(values) for values in of_step], rel=1e-5)
    assert [row.step for row in steps] == list(range(1, STEPS + 1))
    assert all(row.kl is not None and row.length for row in steps)


def test_the_ledger_is_verified_reported_and_watched(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checked = check_ledger(trained)
    assert checked.ok, checked.problems
    with Ledger.open(trained, read_only=True) as ledger:
        (run,) = ledger.runs()
        paths = {artefact.path for _, _, artefact in ledger.artefacts()}
        report = audit_run(ledger, run.id).to_json()
    assert {path.partition("/checkpoint-")[2].partition("/")[0] for path in paths} <= {"6", "12"}
    assert any(path.endswith("checkpoint-12/model.safetensors") for path in paths)
    assert "trl" in json.dumps(report["optimisation"])
    assert report["missing"]
    assert main(["audit", "report", str(trained), "--out", str(trained.parent / "report")]) == 0
    assert "rewards/long/mean" not in (trained.parent / "report" / "report.html").read_text()  # numbers, not logs
    out = trained.parent / "watched"
    assert main(["audit", "logs", str(trained), "--out", str(out), "--baseline-steps", "8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "it judges from step 6 on" in told["alarms"]["kl"]["why_not"]
    assert told["alarms"]["repetition"]["why_not"] == ""
    assert "no step has proxy_std" in told["alarms"]["disagreement"]["why_not"]
    checkpoint = next(trained.parent.glob("out/checkpoint-12/model.safetensors"))
    checkpoint.write_bytes(checkpoint.read_bytes() + b"x")
    assert any("checkpoint-12/model.safetensors" in problem for problem in check_ledger(trained).problems)


def state(step: int = 0, zero: bool = True) -> SimpleNamespace:
    return SimpleNamespace(is_world_process_zero=zero, global_step=step)


def test_a_ledger_that_fails_is_told_once_and_training_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    where = tmp_path / "file" / "ledger.db"
    reward, callback = recorded_reward(long, where), RecordedTraining(where)
    args = SimpleNamespace(output_dir=str(tmp_path / "out"), to_dict=lambda: {"seed": 1, "strange": object()}, beta=0.1)
    callback.on_train_begin(args, state(), None)
    completions = [[{"role": "assistant", "content": "abcde"}]] * 3
    for step in range(4):
        assert reward(prompts=["p"] * 3, completions=completions, trainer_state=state(step)) == [0.5] * 3
        callback.on_log(args, state(step), None, logs={"reward": float("nan"), "loss": 1.0})
        callback.on_save(args, state(step), None)
    assert reward(prompts=["p"], completions=completions[:1]) == [0.5]
    callback.on_train_end(args, state(4), None)
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Custodes:")]
    assert len(told) == 2, told
    assert "fails, and training goes on without it: the folder" in told[0]
    assert "34 rows of this run are not in the ledger" in told[1]  # 4 x (3 replies + 3 scores + 2 of the log) + 2
    assert run_under_way(where) is None


def test_what_was_lost_is_a_hole_once_the_ledger_works_again(tmp_path: Path) -> None:
    where = tmp_path / "sub" / "ledger.db"
    (tmp_path / "sub").write_text("in the way")
    reward = recorded_reward(long, where)
    said = [[{"role": "assistant", "content": "abcde"}]]
    assert reward(prompts=["p"], completions=said) == [0.5]
    run = run_under_way(where)
    assert run is not None
    deadline = time.monotonic() + 60
    while not run.lost:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tmp_path / "sub").unlink()
    reward(prompts=["p"], completions=said)
    outside_run(where, "trl").end()
    found = check_ledger(where)
    assert found.rows >= 4
    assert any("2 rows were lost: the folder" in problem for problem in found.problems)
    with Ledger.open(where) as ledger:
        assert [r.status for r in ledger.runs()] == ["completed"]  # no callback said when training begins


def test_each_rank_writes_a_run_of_its_own_and_the_logs_take_them_together(tmp_path: Path) -> None:
    program = f"""
from types import SimpleNamespace
from custodes.adapters.trl import recorded_reward
reward = recorded_reward(lambda completions, **_: [1.0] * len(completions), {str(tmp_path)!r}, "one")
for step in range(20):
    reward(prompts=["p"] * 4, completions=["a b c"] * 4, trainer_state=SimpleNamespace(global_step=step))
"""
    ranks = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1234"}
    processes = [
        subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **ranks, "RANK": str(rank)})
        for rank in range(2)
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        runs = ledger.runs()
        assert sorted((r.config["rank"], r.config["ranks"], r.status) for r in runs) == [
            (0, 2, "completed"),
            (1, 2, "completed"),
        ]
        assert [len(list(ledger.episodes(r.id))) for r in runs] == [80, 80]
        assert len({e.id for r in runs for e in ledger.episodes(r.id)}) == 160
        assert ledger.verify().ok
    log = tmp_path / "log.jsonl"
    log.write_text(
        "".join(json.dumps({"step": step, "kl": 0.1, "length": 3.0, "kl_token": 0.03}) + "\n" for step in range(20))
    )
    given = ["--rollouts", str(tmp_path / "ledger.db"), "--out", str(tmp_path / "watched")]
    assert main(["audit", "logs", str(log), *given]) == 0
    assert main(["audit", "logs", str(tmp_path / "ledger.db"), "--out", str(tmp_path / "other")]) == 2


@pytest.mark.parametrize("no_function", ["org/reward-model", 3])
def test_what_is_no_function_is_refused(no_function: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no function"):
        recorded_reward(no_function, tmp_path)
