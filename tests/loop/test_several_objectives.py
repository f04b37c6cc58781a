"""Several objectives on the command line: weights by parts, constraints, a front, and soups."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from test_policy_optimise import config, evaluations, flags, optimisation

from custodes.cli import main
from custodes.ledger import verify_ledger
from custodes.lm.loading import load
from custodes.loop.policy_optimise import PolicyOptimise, policy_optimise
from custodes.loop.policy_soup import PolicySoup, policy_soup
from custodes.reward import RewardModel, save_reward
from custodes.reward.model import new_heads
from custodes.types import InputError

REWARDS = '''
"""Functions, and a reward with parts."""
import numpy as np
from custodes.reward.base import RewardBase
from custodes.types import Scores

def short(completions, **columns):
    return [-len(c) / 100 for c in completions]

def vowels(completions, **columns):
    return [sum(letter in "aeiou" for letter in c) / (1 + len(c)) for c in completions]

def seldom(completions, **columns):
    return [None if i % 2 else 0.5 for i, c in enumerate(completions)]

class Axes(RewardBase):
    name = "people"

    def score(self, episodes):
        lengths = np.array([len(e.completion) for e in episodes], float)
        return Scores(lengths, parts={"helpful": lengths / 10, "harmless": -lengths / 100})
'''


@pytest.fixture
def world(tmp_path: Path) -> Path:
    rows = [{"prompt": f"Say something about {i}, please."} for i in range(24)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rewards.py").write_text(REWARDS)
    return tmp_path


def two(world: Path, model: Path, **more: object) -> PolicyOptimise:
    own = {"optimisation": optimisation(), "evaluate_every": 2, "measure_on": 6, "tasks": str(world / "prompts.jsonl")}
    rewards = (f"{world}/rewards.py:short", f"{world}/rewards.py:vowels")
    return PolicyOptimise(model=str(model), reward=rewards, **{"out": world / "out"} | own | more)  # type: ignore[arg-type]


def test_parts_of_a_reward_are_weighed_by_name_and_recorded(world: Path, tiny_model: Path) -> None:
    own = config(world, tiny_model, "Axes", weights="helpful=1,harmless=0.5")
    (gain,) = policy_optimise(own).seeds
    assert list(gain.parts) == ["helpful", "harmless"]
    for row in evaluations(own.out, "policy_heldout"):
        for value, helpful, harmless in zip(
            row["proxy"], row["parts"]["helpful"], row["parts"]["harmless"], strict=True
        ):
            assert value == pytest.approx(helpful + 0.5 * harmless)
    report = json.loads((own.out / "report.json").read_text())["objectives"]["grpo"]
    assert report["names"] == ["helpful", "harmless"]
    assert len(report["points"]) == 3
    assert report["points"][-1]["gain"]["helpful"]["estimate"] == pytest.approx(gain.parts["helpful"][1].estimate)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"no part 'harmles'; did you mean '(people/)?harmless'"):
        policy_optimise(config(world, tiny_model, "Axes", weights="harmles=1", out=world / "b"))


def test_axes_of_a_learned_reward_are_weighed_and_bounded(world: Path, tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    heads = new_heads([0], lm.decoder.spec.hidden, lm.decoder.device, outputs=2)
    save_reward(RewardModel(lm, heads, axes=("truthful", "harmless")), world / "reward")
    bounded = optimisation(constrain=("harmless>=0.2",), steps=2)
    own = two(world, tiny_model, optimisation=bounded, weights="truthful=2")
    (gain,) = policy_optimise(replace(own, reward=(str(world / "reward"),))).seeds
    assert set(gain.parts) == {"truthful", "harmless"}
    assert set(gain.constraints) == {"harmless>=0.2"}
    for row in evaluations(world / "out", "policy_heldout"):
        assert row["proxy"] == pytest.approx([2 * value for value in row["parts"]["truthful"]])
    front = replace(own, reward=(str(world / "reward"),), weights="front:2:truthful,harmless", out=world / "front")
    assert policy_optimise(front).front.objectives == ("truthful", "harmless")  # type: ignore[union-attr]


def test_a_constraint_is_recorded_reported_and_said(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--reward", f"{world}/rewards.py:short", "--reward", f"{world}/rewards.py:vowels", "--algorithm", "grpo")
    bounds = ("--constrain", "vowels>=5", "--constrain", "short<=10", "--multiplier-rate", 5, "--constraint-window", 16)
    more = (*more, "--weights", "short=1")
    assert main(flags(world, tiny_model, *more, *bounds)) == 0
    said = capsys.readouterr().out
    assert "The constraint vowels>=5 was not kept: vowels is" in said
    assert re.search(
        r"its multiplier went 5\S*, 5\S*, 5\S*, the largest allowed: it may not be possible to keep it\.", said
    )
    assert "The constraint short<=10 was kept: short is" in said
    steps = evaluations(world / "out", "constraint_step")
    assert [row["step"] for row in steps] == [1, 2, 3]
    assert steps[0]["constraint"] == ["vowels>=5", "short<=10"]
    metrics = [json.loads(line) for line in (world / "out/optimisation/metrics.jsonl").read_text().splitlines()]
    assert [m["multiplier/short_at_most"] for m in metrics] == [row["multiplier"][1] for row in steps]
    assert metrics[0]["proxy"] == pytest.approx(metrics[0]["part/short"])  # the reward itself, without costs
    report = json.loads((world / "out/report.json").read_text())
    (kept, broken) = (report["objectives"]["grpo"]["constraints"][name]["kept"] for name in ("short<=10", "vowels>=5"))
    assert (kept, broken) == ("yes", "no")
    assert any("vowels>=5 was not kept" in claim for claim in report["claims"])
    assert "Multiplier along the steps." in (world / "out/report.html").read_text()
    assert verify_ledger(world / "out/ledger.db").ok
    assert main(flags(world, tiny_model, *more, *bounds, "--json")) == 0  # run again it only says what it came to
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["constraints"]["vowels>=5"]["highest"] == pytest.approx(5)


def test_a_reward_that_only_bounds_weighs_nothing(world: Path, tiny_model: Path) -> None:
    bounded = optimisation(constrain=("vowels<=0.5",), steps=1)
    policy_optimise(two(world, tiny_model, optimisation=bounded))
    (metrics,) = [json.loads(line) for line in (world / "out/optimisation/metrics.jsonl").read_text().splitlines()]
    assert metrics["proxy"] == pytest.approx(metrics["part/short"])
    policy_optimise(two(world, tiny_model, optimisation=bounded, weights="vowels=2", out=world / "b"))
    (metrics,) = [json.loads(line) for line in (world / "b/optimisation/metrics.jsonl").read_text().splitlines()]
    assert metrics["proxy"] == pytest.approx(metrics["part/short"] + 2 * metrics["part/vowels"])


def test_a_front_is_a_run_for_each_weight_and_one_table(world: Path, tiny_model: Path) -> None:
    done = policy_optimise(two(world, tiny_model, weights="front:3", optimisation=optimisation(steps=1)))
    assert done.front is not None
    assert done.front.objectives == ("short", "vowels")
    assert done.front.weights == (1.0, 0.5, 0.0)
    page = json.loads((world / "out/front.json").read_text())
    for point, weight in zip(page["points"], (1.0, 0.5, 0.0), strict=True):
        folder = world / f"out/weight-{weight:g}"
        last = evaluations(folder, "policy_heldout")[-1]
        assert last["proxy"] == pytest.approx(
            [
                weight * s + (1 - weight) * v
                for s, v in zip(last["parts"]["short"], last["parts"]["vowels"], strict=True)
            ]
        )
        assert point["means"]["short"]["estimate"] == pytest.approx(
            sum(last["parts"]["short"]) / len(last["parts"]["short"])
        )
        assert point["policy"] == str(folder / "policy")
    assert "<svg" in (world / "out/front.html").read_text()
    again = policy_optimise(two(world, tiny_model, weights="front:3", optimisation=optimisation(steps=1)))
    assert again.front is not None
    assert again.front.to_dict() == done.front.to_dict()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"weights": "front:1"}, "write front:N with 2 weights or more"),
        ({"weights": "front:five"}, "write front:N with 2 weights or more"),
        ({"weights": "front:3:short"}, "needs two objectives and finds short; give two rewards, or name two parts"),
        ({"weights": "front:3", "seeds": 2}, "a run for each weight and --seeds one for each seed"),
        ({"weights": "0,0"}, "every reward weighs 0"),
    ],
)
def test_what_is_no_front_is_refused_before_anything_is_written(
    world: Path, tiny_model: Path, more: dict, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        policy_optimise(two(world, tiny_model, **more))
    assert not (world / "out/weight-1").exists()


def test_a_row_of_soups_goes_from_the_first_policy_to_the_second(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("short", "vowels"):
        policy_optimise(config(world, tiny_model, name, out=world / name))
    capsys.readouterr()
    words = ["policy", "soup", str(world / "short"), str(world / "vowels"), "--out", str(world / "soups")]
    assert main([*words, "--weights", "0:1:3", "--dtype", "float32", "--json"]) == 0
    soups = json.loads(capsys.readouterr().out)["soups"]
    assert [s["weights"] for s in soups] == [[1, 0], [0.5, 0.5], [0, 1]]
    assert [Path(s["folder"]).name for s in soups] == ["weight-0", "weight-0.5", "weight-1"]
    ranks = [load(s["folder"]).adapter.config.rank for s in soups]  # type: ignore[union-attr]
    assert ranks == [16, 32, 16]
    assert main(words) == 2
    assert "exists; choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ("0.3,0.3", "sum to 0.6; weights of a soup sum to 1"),
        ("0.2,0.3,0.5", "are for 3 policies, and 2 are given"),
        ("much", "write one number a policy"),
        ("0:1", "write one number a policy"),
        ("0:0:3", "name the same soup twice"),
        ("nan,nan", "write one number a policy"),
    ],
)
def test_weights_that_make_no_soup_are_refused(tmp_path: Path, tiny_model: Path, weights: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        policy_soup(PolicySoup(policies=(str(tiny_model), str(tiny_model)), weights=weights, out=tmp_path / "soup"))
    assert not (tmp_path / "soup").exists()
