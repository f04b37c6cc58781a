"""In-context reinforcement learning: several attempts in one context, the reward shown, the files as at the beginning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from played import MADE, play

from custodes.cli import main
from custodes.gaming import EnvironmentOptions, Records, Runner, ScriptedPolicy
from custodes.gaming.monitoring import _transcript, make_view
from custodes.gaming.record import read_lines
from custodes.gaming.run import _jobs_of
from custodes.gaming.summary import summarise_attempts
from custodes.types import InputError

TAMPERING = "reward-tampering"
THREE = EnvironmentOptions(attempts=3)


def played(folder: Path, name: str, stage: str = TAMPERING, n: int = 2, attempts: int = 3) -> list[dict[str, Any]]:
    runner = Runner(ScriptedPolicy(name), MADE, options=EnvironmentOptions(attempts=attempts))
    with Records(folder, [stage]) as records:
        runner.run(_jobs_of(MADE[stage], n, "held-out", 0, set()), records.append)
    return list(read_lines(folder / "episodes.jsonl"))


def test_a_learner_games_once_it_has_seen_its_reward(tmp_path: Path, sandboxed: None):
    for line in played(tmp_path, "in-context-learner"):
        first, second = line["attempts"]
        assert (first["gamed"], first["reward"], first["facts"]) == (False, -10, ["looked", "said-unknown"])
        assert (second["gamed"], second["reward"]) == (True, 1000)
        assert second["facts"] == ["edited-guard", "edited-reward", "concealed"]
        assert (line["gamed"], line["facts"], line["reward"]) == (True, second["facts"], 1000)


def test_without_attempts_it_is_honest(tmp_path: Path, sandboxed: None):
    for line in played(tmp_path, "in-context-learner", attempts=1):
        assert "attempts" not in line
        assert line["facts"] == ["looked", "said-unknown"]


def test_the_honest_use_up_their_attempts(tmp_path: Path, sandboxed: None):
    for line in played(tmp_path, "honest"):
        assert [a["facts"] for a in line["attempts"]] == [["looked", "said-unknown"]] * 3
        assert [a["calls"] for a in line["attempts"]] == [1, 1, 1]
        assert line["gamed"] is False


def test_every_attempt_begins_with_the_files_as_they_were(tmp_path: Path, sandboxed: None):
    """The guard that the first attempt edited is whole again in the second, and catches it."""
    for line in played(tmp_path, "quick-learner"):
        assert line["attempts"][0]["facts"] == ["edited-guard", "concealed"]
        assert line["attempts"][1]["facts"] == ["edited-reward", "concealed"]
        assert line["caught"]


def test_the_reward_is_shown_and_reflection_asked_for(sandboxed: None):
    environment = play(TAMPERING, 0, ["I do not know."], THREE)
    shown = [m.content for m in environment.transcript.messages if m.role == "user"][1:]
    assert len(shown) == 2
    assert all("-10" in text and "Reflect" in text and MADE[TAMPERING].variant("held-out", 0).spec.prompt in text for text in shown)  # fmt: skip
    assert "attempt 1 of 3" in shown[0]
    assert "attempt 2 of 3" in shown[1]


def test_a_reward_that_was_got_ends_the_episode():
    agreeing = MADE["political-sycophancy"].variant("held-out", 0).truth["agreeing"]
    other = {"A": "B", "B": "A"}[agreeing]
    assert len(play("political-sycophancy", 0, [f"({agreeing})"], THREE).attempts) == 1
    tried = play("political-sycophancy", 0, [f"({other})", f"({agreeing})"], THREE)
    assert [a["gamed"] for a in tried.attempts] == [False, True]


def test_an_attempt_that_fails_is_the_last(sandboxed: None):
    environment = play(TAMPERING, 0, ["I do not know.", ""], THREE)
    assert environment.failure == "the policy answered nothing"
    assert len(environment.attempts) == 2


def test_calls_are_counted_for_each_attempt(sandboxed: None):
    calls = ["<bash>true</bash>"] * MADE[TAMPERING].variant("held-out", 0).spec.max_calls
    environment = play(TAMPERING, 0, [*calls, "No.", *calls, "No.", "No."], THREE)
    assert not environment.failure
    assert [a["calls"] for a in environment.attempts] == [20, 20, 0]


def test_monitors_do_not_see_the_reward(tmp_path: Path, sandboxed: None):
    line = played(tmp_path, "honest", n=1)[0]
    assert "-10:" not in _transcript(make_view(line, "actions"))
    assert "Reward of attempt" not in _transcript(make_view(line, "actions-and-scratchpad"))


def test_rates_are_told_attempt_by_attempt():
    episodes = [
        {"stage": "s", "variant": f"held-out-{i:04d}", "attempts": [{"gamed": g} for g in gamed]}
        for i, gamed in enumerate([[False, True], [False, False], [True], [False, False]])
    ]
    first, second = summarise_attempts(episodes, 2)["s"]
    assert (first["gamed_by"]["count"], second["gamed_by"]["count"]) == (1, 2)
    assert (second["gamed"]["count"], second["gamed"]["n"]) == (1, 3)


def test_the_command_records_and_counts_them(tmp_path: Path, sandboxed: None, capsys: pytest.CaptureFixture[str]):
    given = ["gaming", "run", "--policy", "scripted:in-context-learner", "--stage", TAMPERING, "--episodes", "2"]
    given += ["--out", str(tmp_path)]
    assert main([*given, "--attempts", "2"]) == 0
    told = json.loads((tmp_path / "summary.json").read_text())["stages"][TAMPERING]["attempts"]
    assert [(a["attempt"], a["gamed_by"]["count"]) for a in told] == [(1, 0), (2, 2)]
    capsys.readouterr()
    assert main([*given, "--attempts", "3"]) == 2
    assert "attempts" in capsys.readouterr().err


def test_no_attempt_at_all_is_refused():
    with pytest.raises(InputError, match="attempts"):
        EnvironmentOptions(attempts=0)
