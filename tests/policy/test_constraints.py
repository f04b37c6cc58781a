"""Constraints: what is asked, how multipliers follow, and what reaches the algorithm."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_optimise import BASE, run, same, without_clock
from tiny_policy import EvenTokens, adapted

from custodes.policy.constraints import Constraint, Multipliers, read_constraints
from custodes.types import InputError, Scores


class Two(EvenTokens):
    """Worth the share of even tokens; its part "low" is the share of token ids in the lower half."""

    def score(self, episodes) -> Scores:
        value = super().score(episodes).value
        low = np.array([np.mean(e.token_ids[e.action_mask] < 150) if e.actions else 0.0 for e in episodes])
        return Scores(value, parts={"even": value, "low": low})


def scores(cost: list[float], value: float = 1.0) -> Scores:
    return Scores(np.full(len(cost), value), parts={"cost": np.array(cost, float)})


def begun(text: str = "cost<=0.5", start: float = 1.0) -> Multipliers:
    return Multipliers.begin(read_constraints([text]), start)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("harmless>=0.2", Constraint("harmless", 0.2, True)),
        (" length <= -3e-1 ", Constraint("length", -0.3, False)),
        ("people/harmless>=0", Constraint("people/harmless", 0.0, True)),
    ],
)
def test_a_constraint_is_a_part_a_side_and_a_number(text: str, expected: Constraint) -> None:
    assert Constraint.read(text) == expected
    assert Constraint.read(str(expected)) == expected


@pytest.mark.parametrize("text", ["harmless", "harmless>0.2", ">=0.2", "harmless>=", "harmless>=much", "harmless>=inf"])
def test_what_is_no_constraint_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"e\.g\. 'harmless>=0.2'"):
        Constraint.read(text)


def test_two_bounds_on_one_side_of_a_part_are_refused_and_a_band_is_not() -> None:
    assert len(read_constraints(["x>=0.1", "x<=0.3"])) == 2
    with pytest.raises(InputError, match=r"x<=0\.1 and x<=0\.3 bound the same part on the same side"):
        read_constraints(["x<=0.1", "x<=0.3"])


def test_a_multiplier_rises_while_its_bound_is_broken_and_falls_while_it_is_kept() -> None:
    broken = begun().after(scores([0.9, 0.7]), 0.1, 5.0, 128)
    kept = begun().after(scores([0.1, 0.3]), 0.1, 5.0, 128)
    exact = begun().after(scores([0.4, 0.6]), 0.1, 5.0, 128)
    assert broken.values[0] > 1 > kept.values[0] > 0
    assert exact.values[0] == pytest.approx(1)
    assert broken.logs[0] == pytest.approx(-kept.logs[0])  # as far above the bound as below it


def test_a_floor_is_a_cost_with_its_sign_turned() -> None:
    """The mirror image of a problem has the mirror image of its solution."""
    cost, floor = begun("cost<=0.5"), begun("cost>=-0.5")
    values = [0.9, 0.2, 0.7]
    mirrored = [-v for v in values]
    a, b = cost.after(scores(values), 0.1, 5.0, 128), floor.after(scores(mirrored), 0.1, 5.0, 128)
    assert a.logs == b.logs
    assert a.penalised(scores(values)).value.tolist() == b.penalised(scores(mirrored)).value.tolist()
    assert a.metrics()["constrained/cost_at_most"] == -b.metrics()["constrained/cost_at_least"]


def test_multipliers_stay_between_nothing_and_the_largest() -> None:
    up, down = begun(), begun()
    for _ in range(500):
        up = up.after(scores([10.0]), 0.1, 5.0, 128)
        down = down.after(scores([-10.0]), 0.1, 5.0, 128)
    assert up.values[0] == pytest.approx(5)
    assert 0 < down.values[0] < 0.01


def test_the_mean_is_over_the_last_episodes_of_the_window_alone() -> None:
    far = begun().after(scores([100.0] * 8), 0.0, 5.0, 4)
    near = far.after(scores([0.1, 0.2, 0.3, 0.4]), 0.0, 5.0, 4)
    assert near.metrics()["constrained/cost_at_most"] == pytest.approx(0.25)
    half = far.after(scores([0.0, 0.0]), 0.0, 5.0, 4)
    assert half.metrics()["constrained/cost_at_most"] == pytest.approx(50)


def test_with_a_multiplier_of_nothing_the_reward_is_itself_and_of_much_it_is_the_cost() -> None:
    cost = [0.2, 0.9, 0.4]
    given = Scores(np.array([3.0, 1, 2]), parts={"cost": np.array(cost)}, token=np.ones((3, 2)))
    assert begun(start=1e-12).penalised(given).value == pytest.approx(given.value)
    much = begun(start=1e9).penalised(given)
    assert much.value == pytest.approx(-np.array(cost), abs=1e-6)
    assert much.token == pytest.approx(0, abs=1e-6)  # token rewards are part of the reward
    assert begun(start=1).penalised(given).value == pytest.approx((given.value - cost) / 2)


def test_a_part_that_is_not_known_is_neither_a_gain_nor_a_loss() -> None:
    known = begun().after(scores([0.2, 0.6]), 0.1, 5.0, 128)
    some = begun().after(scores([0.2, math.nan, 0.6]), 0.1, 5.0, 128)
    assert some == known  # what is not known does not move the mean; a 0 would
    value = some.penalised(scores([0.2, math.nan, 0.6])).value
    assert value[1] == pytest.approx((value[0] + value[2]) / 2)
    nothing = begun().after(scores([math.nan, math.nan]), 0.1, 5.0, 128)
    assert nothing == begun()
    assert "constrained/cost_at_most" not in nothing.metrics()
    assert np.ptp(nothing.penalised(scores([math.nan, math.nan])).value) == 0


def test_a_part_that_the_reward_does_not_have_is_refused_and_nothing_is_learned(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    with pytest.raises(InputError, match=r"step 1: --constrain lov<=0.2: .* no part 'lov'; did you mean 'low'"):
        run(lm, replace(BASE, constrain=("lov<=0.2",)), reward=Two())
    assert same(lm, adapted(tiny_model))


def test_a_constraint_is_kept_that_the_unconstrained_policy_breaks(tiny_model: Path) -> None:
    config = replace(
        BASE, algorithm="rloo", steps=30, sampling=replace(BASE.sampling, n=8), kl_coefficient=0.0, epochs=1
    )
    config = replace(config, learning_rate=2e-2)

    def end(constrain: tuple[str, ...]) -> float:
        lm = adapted(tiny_model)
        steps = run(lm, replace(config, constrain=constrain, constraint_window=32), reward=Two()).metrics
        return float(np.mean([m["part/low"] for m in steps[-6:]]))

    free = end(())
    bound = free - 0.25
    assert end((f"low<={bound}",)) < free - 0.1


def test_interrupted_it_ends_where_a_straight_run_does_with_the_same_multipliers(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = replace(BASE, constrain=("low<=0.1", "even>=0.9"), constraint_window=20, checkpoint_every=1, steps=4)
    straight, resumed = adapted(tiny_model), adapted(tiny_model)
    whole = run(straight, config, reward=Two())

    def stop(metrics, episodes, scores) -> None:
        if metrics["step"] == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(adapted(tiny_model), config, reward=Two(), out=tmp_path, on_step=stop)
    again = run(resumed, config, reward=Two(), out=tmp_path)
    assert same(straight, resumed)
    assert without_clock(again.metrics) == without_clock(whole.metrics)
    lam = [m["multiplier/low_at_most"] for m in whole.metrics]
    assert lam == sorted(lam)  # broken all along
    assert lam[-1] > lam[0] > 1


def test_a_step_that_cannot_be_scored_leaves_the_multipliers_as_they_were(tiny_model: Path, tmp_path: Path) -> None:
    config = replace(BASE, constrain=("low<=0.1",), checkpoint_every=1)
    whole = run(adapted(tiny_model), config, reward=Two())

    class Breaks(Two):
        calls = 0

        def score(self, episodes) -> Scores:
            type(self).calls += 1
            found = super().score(episodes)
            return replace(found, value=np.full(len(episodes), np.inf)) if type(self).calls == 2 else found

    with pytest.raises(InputError, match="step 2: the reward gave no finite score"):
        run(adapted(tiny_model), config, reward=Breaks(), out=tmp_path)
    again = run(adapted(tiny_model), config, reward=Breaks(), out=tmp_path)
    assert without_clock(again.metrics) == without_clock(whole.metrics)
