"""The study of goals and options runs on a model so small that the numbers mean nothing."""

from __future__ import annotations

from pathlib import Path

from test_policy_studies import run

FEW = ("--steps", "1", "--tasks-per-step", "2", "--held-out", "4", "--max-tokens", "1")


def test_goals_and_options_are_studied(model: Path, tmp_path: Path) -> None:
    (found,) = run("goals.py", tmp_path / "out", model, *FEW)
    assert set(found["after"]) == {"cue", "tenth", "more", "fewer"}
    assert set(found["before"]) == {"goal-shift", "option-keeping"}
    shifted = found["after"]["cue"]["shifted"]["goal"]["n"]
    assert found["goal right on shifted variants, tenth minus cue"]["pairs"] == shifted
    assert [len(steps) for steps in found["rewarded, by step"].values()] == [1] * 4
