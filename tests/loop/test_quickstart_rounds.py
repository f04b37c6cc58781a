"""The quickstart in rounds: its own judges go on judging, and what is wrong is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.ledger import Ledger, verify_ledger
from custodes.loop.quickstart import Quickstart, quickstart
from custodes.loop.round_options import RoundOptions
from custodes.types import InputError

SMALL = {
    "judged_tasks": 24, "steps": 4, "evaluate_every": 2, "learning_rate": 2e-2, "measure_on": 8, "compare_best_of": 4, "reward_epochs": 1, "members": 2,
    "max_tokens": 12, "threads": 1,
}  # fmt: skip
ROUNDS = RoundOptions(rounds=2, relabel="kl:0.000001", labels=12, probe_labels=2, final_labels=8)


def test_simulated_judges_judge_again_and_all_they_said_is_believed(tiny_model: Path, tmp_path: Path) -> None:
    own = Quickstart(model=str(tiny_model), out=tmp_path, relabelling=ROUNDS, **SMALL)  # type: ignore[arg-type]
    quickstart(own)
    told = json.loads((tmp_path / "report.json").read_text())
    assert [r["arm"] for r in told["rounds"]["rounds"]] == ["careful", "careful, round 2"]
    assert [w["name"] for w in told["rounds"]["rewards"]] == ["careful reward", "careful, round 2 reward"]
    labelled = told["rounds"]["labelled"]["careful"]
    assert labelled["pairs"] == 12
    assert labelled["judgments"] == 12 * own.overlap
    held = [w["held_out"]["n"] for w in told["rounds"]["rewards"]]
    assert held[0] == held[1] > 0  # tasks from which no reward learns
    assert next(iter(told["optimisation"])) == "careful, round 2"  # the policy that is handed over makes the headline
    assert (tmp_path / "policy/careful/adapter/adapter_model.safetensors").is_file()
    with Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        rows = {e.subject: e.metrics for e in ledger.evaluations(ledger.runs()[0].id, "reward_taught")}
    pairs = {name: row["used"]["pair"] + sum(left["judgments"] for left in row["unused"]) for name, row in rows.items()}
    assert (
        pairs["careful, round 2 reward"] == pairs["careful reward"] + 12
    )  # of which judges of a tiny model decide few
    assert verify_ledger(tmp_path / "ledger.db").ok
    written = (tmp_path / "reward/careful-round-2/reward.json").stat().st_mtime_ns
    before = told["rounds"]
    quickstart(own)
    assert json.loads((tmp_path / "report.json").read_text())["rounds"] == before
    assert (tmp_path / "reward/careful-round-2/reward.json").stat().st_mtime_ns == written


def test_rounds_are_of_one_arm_and_need_a_judge_of_peoples_prompts(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--rounds optimises one arm; leave out --arms all"):
        quickstart(Quickstart(model=str(tiny_model), out=tmp_path / "a", arms="all", relabelling=ROUNDS))
    with pytest.raises(InputError, match="--rounds 2 needs somebody who judges"):
        quickstart(Quickstart(model=str(tiny_model), out=tmp_path / "b", judgments="x.jsonl", relabelling=ROUNDS))
    assert not (tmp_path / "a").exists()
