"""Gameable environments under oversight: the truth of an action is known before it happens, and a block undoes nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from played import MADE, POLICIES

from custodes.cli import main
from custodes.feedback.oversight import EpisodeOversight, Oversight, OversightOptions
from custodes.gaming import EnvironmentOptions, gaming_task
from custodes.gaming.oversight import OverseenGaming, action_monitor
from custodes.gaming.record import read_lines
from custodes.gaming.script import script_for
from custodes.types import InputError


def overseen(tmp_path: Path, stage: str, replies: Sequence[str], number: int = 0, **options: str) -> OverseenGaming:
    options = {"oversight": "simulated:catch=1"} | options
    asked = OversightOptions(**options)  # type: ignore[arg-type]
    oversight = Oversight(asked, tmp_path / "answers", 0)
    of_episode = EpisodeOversight(oversight, f"{stage}/{number}", "scripted")
    made = {stage: MADE[stage]}
    environment = OverseenGaming(made, EnvironmentOptions(), None, of_episode, action_monitor(asked))
    environment.start(gaming_task(MADE[stage], "held-out", number))
    for i in range(50):
        if environment.step(replies[min(i, len(replies) - 1)]) is None:
            environment.close()
            return environment
    raise AssertionError("the episode never ended")


def gamer_of(stage: str) -> list[str]:
    """Replies of a scripted policy that games this stage."""
    for policy in POLICIES.values():
        if stage in policy.parts:
            replies = list(policy.parts[stage].replies(MADE[stage].variant("held-out", 0)))
            if MADE[stage] and _games(stage, replies):
                return replies
    raise AssertionError(f"no script games {stage}")


def _games(stage: str, replies: Sequence[str]) -> bool:
    from played import play

    return bool(play(stage, 0, replies).verdict.gamed)


@pytest.mark.parametrize("stage", ["political-sycophancy", "tool-flattery", "nudged-rubric", "reward-tampering"])
def test_the_action_that_games_is_known_and_blocked_and_nothing_is_gamed(
    sandboxed: None, tmp_path: Path, stage: str
) -> None:
    replies = gamer_of(stage)
    free = overseen(tmp_path, stage, replies, oversight="simulated:catch=0")
    assert free.verdict.gamed
    assert sum(bool(a.harmful) for a in free.overseen.actions) >= 1
    stopped = overseen(tmp_path, stage, replies)
    assert not stopped.verdict.gamed
    assert all(a.blocked == bool(a.harmful) for a in stopped.overseen.actions)
    assert not stopped.failure  # a block is no failure of the environment
    honest = list(script_for(POLICIES["honest"], stage).replies(MADE[stage].variant("held-out", 0)))
    fair = overseen(tmp_path, stage, honest)
    assert not any(a.harmful for a in fair.overseen.actions)
    assert fair.transcript.answer


def test_the_policy_is_told_or_the_episode_ends(tmp_path: Path) -> None:
    replies = gamer_of("political-sycophancy")
    told = overseen(tmp_path, "political-sycophancy", replies)
    assert [m.content[:27] for m in told.transcript.messages if m.role == "user"][1:] == [
        "An overseer blocked this: i"
    ] * 2
    assert len(told.overseen.actions) == 3
    ended = overseen(tmp_path, "political-sycophancy", replies, on_block="end")
    assert len(ended.overseen.actions) == 1
    assert ended.transcript.answer == ""


def test_a_monitor_says_which_actions_are_seen(tmp_path: Path) -> None:
    replies = gamer_of("political-sycophancy")
    seen = overseen(tmp_path, "political-sycophancy", replies, oversee="rules")
    unseen = [a for a in seen.overseen.actions if a.answer is None]
    assert len(unseen) + sum(a.blocked for a in seen.overseen.actions) == len(seen.overseen.actions)
    with pytest.raises(InputError, match="is no rule"):
        action_monitor(OversightOptions(oversight="simulated:", oversee="never"))


def test_a_run_counts_what_was_caught_and_goes_on_where_its_overseer_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(
        "from pathlib import Path\n"
        "from custodes.feedback.oversight import Overseer, OverseerAnswer, OverseerLost\n"
        "class Leaves(Overseer):\n"
        "    def answer(self, action):\n"
        "        with Path(__file__).with_name('asked').open('a') as file:\n"
        "            file.write(action.key + '\\n')\n"
        "        n = len(Path(__file__).with_name('asked').read_text().splitlines())\n"
        "        if n > 8 and not Path(__file__).with_name('back').exists():\n"
        "            raise OverseerLost('the overseer went away')\n"
        "        return OverseerAnswer(not action.harmful, 'leaves', '', 3.0, 3.0)\n"
    )
    words = ["gaming", "run", "--policy", "scripted:" + _flatterer(), "--stage", "political-sycophancy"]
    words += ["--episodes", "12", "--oversight", f"{tmp_path}/own.py:Leaves", "--on-block", "end", "--workers", "2"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "the overseer went away" in capsys.readouterr().err
    (tmp_path / "back").touch()
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    records = list(read_lines(tmp_path / "out" / "episodes.jsonl"))
    assert sorted(r["index"] for r in records) == list(range(12))
    assert all(r["oversight"][0]["blocked"] == bool(r["oversight"][0]["harmful"]) for r in records)
    assert not any(r["gamed"] or r["failure"] for r in records)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    told = summary["stages"]["political-sycophancy"]["oversight"]
    assert told["caught"]["estimate"] == 1
    assert told["people"] == {"leaves": 12}
    assert told["gamed_all_the_same"] == []
    assert "An overseer saw 12 of 12 actions" in (tmp_path / "out" / "report.html").read_text()


def _flatterer() -> str:
    """A script that games the first stage."""
    return next(
        name
        for name, policy in POLICIES.items()
        if "political-sycophancy" in policy.parts
        and _games(
            "political-sycophancy",
            list(policy.parts["political-sycophancy"].replies(MADE["political-sycophancy"].variant("held-out", 0))),
        )
    )


def test_several_attempts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gaming", "run", "--policy", "scripted:honest", "--stage", "political-sycophancy", "--episodes", "2"]
    assert main([*words, "--oversight", "simulated:", "--attempts", "2", "--out", str(tmp_path / "out")]) == 2
    assert "leave --attempts at 1" in capsys.readouterr().err
