"""Rounds: an alarm ends one, its policy's replies teach the reward again, and a killed run ends as the straight one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rounds_world as small

from custodes.audit.sections.alarms import AlarmsSet, AlarmStep
from custodes.audit.sections.optimisation import PolicyStep
from custodes.cli import main
from custodes.feedback import ai
from custodes.feedback.kinds.comparison import Comparison
from custodes.job.workspace import Workspace
from custodes.ledger import Ledger, verify_ledger
from custodes.lm.loading import load
from custodes.loop import round_judges
from custodes.loop.optimised_arm import recorded_run
from custodes.loop.policy_optimise import policy_optimise
from custodes.loop.round_judges import PairAnswers, preference
from custodes.loop.round_options import RoundOptions, Trigger
from custodes.loop.round_watch import RewardWatch
from custodes.reward import load_reward
from custodes.stats import Interval
from custodes.types import Annotator, Episode, InputError, Message, Sampling, Scores, Task


@pytest.fixture(scope="module")
def world(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.make_world(tmp_path_factory.mktemp("rounds"), tiny_model)


@pytest.fixture(scope="module")
def finished(world: Path, tiny_model: Path) -> dict[str, Any]:
    """Two rounds with simulated judges and the relearning test, as the command tells of them."""
    return policy_optimise(
        small.config(world, tiny_model, "straight", relabelling=small.rounds_of(relearn=True))
    ).to_dict()


def decisions(out: Path) -> dict[str, Any]:
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        return {d.id: d for d in ledger.decisions(ledger.runs()[-1].id)}


def test_an_alarm_ends_a_round_and_its_labels_teach_the_reward_again(world: Path, finished: dict[str, Any]) -> None:
    out, told = world / "straight", finished["runs"][0]["rounds"]
    first, second = told["rounds"]
    assert (first["alarm"]["signal"], first["stopped"], second["round"]) == ("kl", "alarm", 2)
    assert told["labelled"]["grpo"] | {"seconds": 0, "tokens": 0} == {
        "judge": "simulated", "choice": "bald", "pairs": 12, "judgments": 12, "seconds": 0, "tokens": 0
    }  # fmt: skip
    assert told["labelled"]["grpo"]["tokens"] > 0
    assert told["labelled"]["grpo"]["seconds"] > 0
    made = decisions(out)
    assert "nats beyond where labels are" in made["alarm-grpo"].why
    assert made["labels-grpo"].why.startswith("12 judgments of 12 pairs")
    assert load(out).fingerprint() == load(out / "rounds/2/policy").fingerprint()
    assert load(out).fingerprint() != load(out / "rounds/1/policy").fingerprint()
    fresh, stale = load_reward(out / "rounds/2/reward"), load_reward(world / "reward")
    assert not np.array_equal(fresh.heads.detach(), stale.heads.detach())
    assert verify_ledger(out / "ledger.db").ok


def test_rewards_stand_side_by_side_where_none_of_them_learned(world: Path, finished: dict[str, Any]) -> None:
    told = finished["runs"][0]["rounds"]
    assert [reward["judgments"] for reward in told["rewards"]] == [0, 12]
    for reward in told["rewards"]:
        assert reward["held_out"]["n"] == 8  # half of 16 prompts, the same for both
        assert set(reward["on"]) == {"grpo", "grpo, round 2", "the final policy"}
    assert set(told["relearned"]) == {"arm", "steps", "proxy", "gold"}
    report = json.loads((world / "straight/report.json").read_text())
    assert any(claim.startswith("Round 1 ended by an alarm: at step") for claim in report["claims"])
    assert any("On the final policy's replies the first reward is right on" in claim for claim in report["claims"])
    assert report["optimisation"].keys() == {"grpo, round 2", "grpo", "grpo, relearned"}
    page = (world / "straight/report.html").read_text()
    assert "Accuracy of the reward on judged pairs of the policy" in page
    assert "12 by simulated" in page


def test_every_round_begins_at_the_first_policy_and_is_held_to_it(
    world: Path, tiny_model: Path, finished: dict[str, Any]
) -> None:
    def first_kl(out: str) -> float:
        return float(
            json.loads((world / out / "rounds/2/optimisation/metrics.jsonl").read_text().splitlines()[0])["kl"]
        )

    assert first_kl("straight") == pytest.approx(0, abs=1e-6)
    policy_optimise(small.config(world, tiny_model, "last", relabelling=small.rounds_of(restart="last")))
    assert first_kl("last") > 1e-3  # it goes on where round 1 ended, and is measured against the model as it came


def test_called_again_it_says_the_same_and_trains_nothing(
    world: Path, tiny_model: Path, finished: dict[str, Any]
) -> None:
    written = (world / "straight/rounds/2/reward/reward.json").stat().st_mtime_ns
    again = policy_optimise(small.config(world, tiny_model, "straight", relabelling=small.rounds_of(relearn=True)))
    assert again.to_dict() == finished
    assert (world / "straight/rounds/2/reward/reward.json").stat().st_mtime_ns == written


def test_the_other_alarms_watch_every_round_and_end_none(world: Path, finished: dict[str, Any]) -> None:
    with Ledger.open(world / "straight/ledger.db", read_only=True) as ledger:
        run = ledger.runs()[-1].id
        for arm in ("grpo", "grpo, round 2", "grpo, relearned"):
            (made,) = AlarmsSet.recorded(ledger, run, arm)
            assert not any(made.acts)
            why_not = dict(zip(made.alarm, made.why_not, strict=True))
            assert why_not["accuracy"]  # the round's own probes ask for it
            assert "it judges from step 6 on" in why_not["kl"]  # a round has fewer here
            steps = AlarmStep.recorded(ledger, run, arm)
            assert [row.step for row in steps] == list(range(1, len(steps) + 1))
            assert {"length", "repetition"} <= set(steps[0].alarm)


MOMENTS = {
    "a probe is judged": ("record", "probe-labels-grpo-1"),
    "an alarm has rung": ("record", "round-alarm-grpo"),
    "replies are drawn to be judged": ("phase", "Replies of round 1's policy, to be judged"),
    "pairs are judged": ("record", "round-labelled-grpo"),
    "the reward has learned again": ("record", "round-reward-2"),
    "rewards are compared": ("record", "reward-on-pairs-reward of round 2-grpo"),
    "the end is measured": ("phase", "How right each reward is on the final policy's replies"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_it_ends_as_the_straight_run(
    world: Path, tiny_model: Path, finished: dict[str, Any], moment: str
) -> None:
    own = small.config(
        world, tiny_model, f"killed-{list(MOMENTS).index(moment)}", relabelling=small.rounds_of(relearn=True)
    )
    child = os.fork()
    if child == 0:
        _die_at(*MOMENTS[moment])
        policy_optimise(own)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    done = policy_optimise(own).to_dict()["runs"][0]
    assert done["rounds"] == finished["runs"][0]["rounds"]
    assert load(own.out).fingerprint() == load(world / "straight").fingerprint()
    assert verify_ledger(own.out / "ledger.db").ok


def _die_at(what: str, which: str) -> None:
    """In a process of its own: be killed once this was recorded, or as this phase begins."""
    was = getattr(Workspace, what)

    def dying(work: Workspace, name: str, *rest: Any) -> Any:
        if what == "record":
            was(work, name, *rest)
        if which in (name, *rest):
            os.kill(os.getpid(), signal.SIGKILL)
        return None if what == "record" else was(work, name, *rest)

    setattr(Workspace, what, dying)


# ---------------------------------------------------------------- judges


class Opinions:
    """A judge's model that prefers the first answer, and fails once it was asked too often."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, 0

    def generate(self, tasks: Sequence[Task], sampling: Sampling) -> list[Episode]:
        self.asked += len(tasks)
        if self.asked > self.most:
            raise InputError("http://judge.example/v1 does not answer (connection refused)")
        return [Episode.written(f"r-{t.id}", t, (*t.messages, Message("assistant", "2")), "judge") for t in tasks]

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[Any]:
        raise NotImplementedError


def test_a_judge_that_dies_is_asked_again_for_the_rest_only(
    world: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text("name: r\nversion: '1'\nprinciples:\n  - name: brief\n    text: Which answer is shorter?\n")
    monkeypatch.setattr(ai, "CHUNK", 4)
    own = small.config(
        world, tiny_model, "dies", relabelling=small.rounds_of(judge=str(rubric), probe_every=2, final_labels=2)
    )
    dying, healthy = Opinions(12), Opinions(10_000)
    monkeypatch.setattr(round_judges, "open_engine", lambda *_: dying)
    with pytest.raises(InputError, match="connection refused"):
        policy_optimise(own)
    monkeypatch.setattr(round_judges, "open_engine", lambda *_: healthy)
    policy_optimise(own)
    whole = Opinions(10_000)
    monkeypatch.setattr(round_judges, "open_engine", lambda *_: whole)
    policy_optimise(small.config(world, tiny_model, "whole", relabelling=own.relabelling))
    assert healthy.asked + 12 == whole.asked
    assert load(world / "dies").fingerprint() == load(world / "whole").fingerprint()


def test_a_pair_is_preferred_as_most_of_its_judgments_say_in_whatever_order() -> None:
    task = Task("t", (Message("user", "?"),))
    a, b = (Episode.written(x, task, (*task.messages, Message("assistant", x)), "p") for x in "ab")
    said = [
        Comparison(id=str(n), annotator="x", task="t", episodes=order, verdict="prefer" if s else "tie", strength=s)
        for n, (order, s) in enumerate(((("a", "b"), 3), (("b", "a"), -1), (("b", "a"), 2), (("a", "b"), 0)))
    ]
    assert preference(said, (a, b)) == 1
    assert preference(said, (b, a)) == -1
    assert preference(said[1:3], (a, b)) == 0


# ---------------------------------------------------------------- alarms


class Oracle:
    """A judge who prefers the first reply of every pair."""

    name = "oracle"

    def ask(self, purpose: str, pairs: Sequence[Any]) -> PairAnswers:
        said = [
            Comparison(id=f"{a.id}-{b.id}", annotator="o", task=a.task.id, episodes=(a.id, b.id), strength=1)
            for a, b in pairs
        ]
        return PairAnswers(said, [Annotator("o", "simulated")])


def watched(folder: Path, right: bool, relabel: str = "accuracy", spread: Sequence[float] = ()) -> RewardWatch:
    """A watch after twenty steps of eight pairs each, on which the reward is always right, or always wrong."""
    kept: list[RewardWatch] = []

    def run(work: Workspace) -> None:
        options = RoundOptions(rounds=2, judge="simulated", relabel=relabel)
        watch = RewardWatch(work, "arm", Oracle(), options, Interval(0.8, 0.7, 0.9, 100), "overall", 0)
        kept.append(watch)
        for step in range(1, 21):
            known = {"proxy_std": spread[step - 1]} if spread else {}
            row = PolicyStep(step=step, episodes=16, kl=0.1 * step, **known)
            work.record(f"step-{step}", row, "arm")
            episodes = []
            for n in range(8):
                task = Task(f"t{n}", (Message("user", f"{n}?"),))
                episodes += [
                    Episode.written(f"{step}-{n}-{k}", task, (*task.messages, Message("assistant", f"{k}")), "p")
                    for k in range(2)
                ]
            work.ledger.write(work.run, episodes)
            if not watch.over(step - 1):
                watch.seen(row, episodes, Scores(np.array([1.0, 0.0] * 8) if right else np.array([0.0, 1.0] * 8)))

    recorded_run(folder, "policy optimise", {}, 0, run)
    return kept[0]


def test_accuracy_rings_where_the_reward_is_wrong_and_not_where_it_is_right(tmp_path: Path) -> None:
    wrong, right = watched(tmp_path / "wrong", False), watched(tmp_path / "right", True)
    assert right.rang is None
    assert not right.over(20)
    assert wrong.rang is not None
    assert wrong.rang.limit == pytest.approx(0.75)
    assert wrong.rang.labels == 8 * wrong.rang.step  # it stopped there
    assert wrong.over(wrong.rang.step)
    assert not wrong.over(wrong.rang.step - 1)  # a run that goes on from an earlier checkpoint makes the rest again
    assert np.exp(wrong.rang.evidence) >= 20


def test_kl_and_disagreement_ring_at_their_bound(tmp_path: Path) -> None:
    assert watched(tmp_path / "kl", True, "kl:0.95").rang.step == 10  # 0.1 nats a step
    growing = [1.0] * 10 + [2.0] * 10
    assert watched(tmp_path / "spread", True, "disagreement:1.5", growing).rang.step == 12  # a mean of three steps
    assert watched(tmp_path / "still", True, "disagreement:2.5", growing).rang is None


# ---------------------------------------------------------------- what is wrong is said at once


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rounds", "2", "--judge", "simulated", "--labels", "0"), "labels"),
        (
            ("--rounds", "2", "--judge", "simulated", "--relabel", "entropy"),
            "--relabel entropy is no trigger; give accuracy",
        ),
        (("--rounds", "2", "--judge", "simulated", "--relabel", "kl:-1"), "with a bound above 0"),
        (("--rounds", "2"), "--rounds 2 needs somebody who judges"),
        (("--relearn",), "--relearn belongs to rounds, and there is one"),
        (("--judge", "project:answers"), "which only rounds wait for"),
        (("--rounds", "2", "--judge", "simulated", "--alarm-level", "1"), "must be below 1"),
        (("--rounds", "2", "--judge", "endpoint:http://x/v1#m"), "needs the principles that it judges by"),
        (("--rounds", "2", "--judge", "nobody:x"), "there is no judge 'nobody'"),
    ],
)
def test_wrong_options_are_one_sentence(
    world: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str], said: str
) -> None:
    gold = () if "endpoint" in str(words) else ("--gold", f"{world}/gold.py:shortness")
    own = ("--model", tiny_model, "--tasks", world / "prompts.jsonl", "--reward", world / "reward", *gold)
    sizes = ("--algorithm", "grpo", "--max-tokens", "8", "--tasks-per-step", "4", "--out", tmp_path / "out")
    assert main(["policy", "optimise", *map(str, (*own, *sizes, *words))]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("custodes:")]
    assert len(told) == 1
    assert said in told[0]


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("{world}/gold.py:shortness", "it is no folder of custodes reward train"),
        ("{world}/reward,{world}/reward", "teaches one reward again, and 2 are given"),
    ],
)
def test_a_reward_that_cannot_be_taught_again_is_refused_before_a_folder_is_claimed(
    world: Path, tiny_model: Path, tmp_path: Path, reward: str, said: str
) -> None:
    own = small.config(world, tiny_model, str(tmp_path / "out"), reward=tuple(reward.format(world=world).split(",")))
    with pytest.raises(InputError, match=said):
        policy_optimise(own)
    assert not (tmp_path / "out").exists()


def test_one_member_cannot_disagree(world: Path, tiny_model: Path, tmp_path: Path) -> None:
    alone = small.make_world(tmp_path / "alone", tiny_model, members=1)
    with pytest.raises(InputError, match="needs a reward with several members"):
        policy_optimise(small.config(alone, tiny_model, relabelling=small.rounds_of(relabel="disagreement")))


def test_a_trigger_has_a_usual_bound() -> None:
    assert [Trigger.read(name).bound for name in ("accuracy", "disagreement", "kl")] == [0.05, 1.5, 3.0]
    assert Trigger.read("accuracy:0.1") == Trigger("accuracy", 0.1)


def test_a_judge_of_ones_own_is_a_class_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    name = 'mine'\n\n    def ask(self, purpose, pairs):\n        raise NotImplementedError\n"
    )
    options = RoundOptions(rounds=2, judge=f"{tmp_path}/mine.py:Mine")
    assert round_judges.open_judge(options, None, tmp_path, None, 0).name == "mine"


def test_a_judge_of_ones_own_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    text = "class Mine:\n    def ask(self, purpose, pairs):\n        return {}['x']\n"
    text += "class Leaves(Mine):\n    def ask(self, purpose, pairs):\n        raise SystemExit(3)\n"
    text += "class Silent(Mine):\n    def ask(self, purpose, pairs):\n        return None\n"
    text += "class Never(Mine):\n    def __init__(self):\n        raise OSError('no key')\n"
    (tmp_path / "mine.py").write_text(text)

    def asked(name: str) -> None:
        options = RoundOptions(rounds=2, judge=f"{tmp_path}/mine.py:{name}")
        round_judges.open_judge(options, None, tmp_path, None, 0).ask("a probe", [])

    for name, told in (
        ("Mine", r"--judge .*mine\.py:Mine failed at .*mine\.py, line 3 \(KeyError: 'x'\)"),
        ("Leaves", r"mine\.py, line 6 \(SystemExit: 3\)"),
        ("Silent", "answered NoneType; it must answer PairAnswers"),
        ("Never", r"mine\.py, line 12 \(OSError: no key\)"),
    ):
        with pytest.raises(InputError, match=told):
            asked(name)
