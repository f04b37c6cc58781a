"""Policies side by side at equal KL, on the same prompts, each on its own replies."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from custodes.cli import main
from custodes.loop.policy_compare import (
    ComparedPolicies,
    Curve,
    CurvePoint,
    PolicyCompare,
    _rounded_down,
    _row,
    policy_compare,
)
from custodes.loop.policy_optimise import PolicyOptimise, policy_optimise
from custodes.policy import OptimiseConfig
from custodes.stats import mean_interval
from custodes.types import InputError, Sampling


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Say {i}."}) + "\n" for i in range(24)))
    (folder / "rewards.py").write_text(
        "def short(completions, **columns):\n    return [-float(len(c)) for c in completions]\n"
    )
    for algorithm, rate in (("grpo", 3e-2), ("rloo", 1e-2)):
        sampling = Sampling(n=3, max_tokens=8)
        options = OptimiseConfig(algorithm=algorithm, steps=4, tasks_per_step=4, learning_rate=rate, sampling=sampling)
        policy_optimise(
            PolicyOptimise(out=folder / algorithm, tasks=str(folder / "prompts.jsonl"), reward=(f"{folder}/rewards.py:short",),
                           model=str(tiny_model), optimisation=options, evaluate_every=1, measure_on=4)
        )  # fmt: skip
    return folder


def config(world: Path, *policies: str, **more: object) -> PolicyCompare:
    own = {
        "tasks": str(world / "prompts.jsonl"),
        "reward": (f"{world}/rewards.py:short",),
        "sampling": Sampling(max_tokens=8),
    }
    return PolicyCompare(policies=tuple(str(world / p) for p in policies), **own | more)  # type: ignore[arg-type]


def test_policies_are_compared_where_each_of_them_has_been(world: Path) -> None:
    done = policy_compare(config(world, "grpo", "rloo", compare_best_of=4, out=world / "compared"))
    assert [len(curve.points) for curve in done.curves] == [5, 5, 3]  # base, three on the way, the last; 1, 2, 4 draws
    (kl,) = done.at_kl
    for curve in done.curves:
        assert curve.values.shape == (len(curve.points), 24)
        assert curve.distance.max() >= math.sqrt(kl) - 1e-3
    row = done.table[done.curves[1].policy]
    assert row[f"minus grpo at KL {kl:g}"].n == 24
    assert row[f"gain at KL {kl:g}"].n == 24
    assert done.columns[-3:] == [f"reward at KL {kl:g}", f"gain at KL {kl:g}", f"minus grpo at KL {kl:g}"]
    assert done.table["best of 4"]["kl_is"] == "an upper bound"
    assert done.table["best of 4"]["gain"].estimate >= 0
    assert json.loads((world / "compared/compare.json").read_text())["at_kl"] == [kl]
    assert "<svg" in (world / "compared/compare.html").read_text()


def test_the_first_policy_that_came_so_far_is_compared_with() -> None:
    """Where the first stops early, the others are still set against one another."""

    def curve(name: str, *distances: float) -> Curve:
        values = np.outer(distances, np.arange(1.0, 9.0))
        points = tuple(CurvePoint(name, mean_interval([d * d] * 8), mean_interval(v), mean_interval(v)) for d, v in zip(distances, values, strict=True))  # fmt: skip
        return Curve(name, points, values, ())

    curves = [curve("early", 0.0, 1.0), curve("second", 0.0, 2.0), curve("third", 0.0, 3.0)]
    table = {c.policy: _row(c, curves, (0.25, 4.0)) for c in curves}
    done = ComparedPolicies((0.25, 4.0), tuple(curves), table, ())
    assert done.columns[3:] == [
        "reward at KL 0.25", "gain at KL 0.25", "minus early at KL 0.25",
        "reward at KL 4", "gain at KL 4", "minus second at KL 4",
    ]  # fmt: skip
    assert table["early"]["minus second at KL 4"] is None
    assert table["third"]["minus second at KL 4"].estimate == pytest.approx(0.0)


@pytest.mark.parametrize(("kl", "down"), [(2.3456, 2.34), (0.00045678, 0.000456), (12.0, 12.0), (0.0, 0.0)])
def test_the_default_kl_is_one_that_everybody_reached(kl: float, down: float) -> None:
    assert _rounded_down(kl) == down


def test_at_a_measured_point_the_comparison_is_that_point(world: Path) -> None:
    (curve,) = policy_compare(config(world, "grpo")).curves
    last = curve.points[-1]
    if curve.distance[-1] == curve.distance.max():
        np.testing.assert_allclose(curve.at(last.kl.estimate), curve.values[-1])
    np.testing.assert_allclose(curve.at(0.0), curve.values[int(curve.distance.argmin())])
    assert curve.at(1e6) is None


def test_every_prompt_is_shown_under_every_policy(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["policy", "compare", world / "grpo", world / "rloo", "--tasks", world / "prompts.jsonl", "--max-tokens", 8]
    words += ["--reward", f"{world}/rewards.py:short", "--show", 2, "--at-kl", "0.01,100000"]
    assert main([*map(str, words), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["shown"]) == 2
    assert set(told["shown"][0]["replies"]) == {"base", str(world / "grpo"), str(world / "rloo")}
    assert told["table"][str(world / "rloo")]["reward at KL 100000"] is None  # nobody got so far
    assert main([*map(str, words)]) == 0
    printed = capsys.readouterr().out
    assert "not reached" in printed
    assert "Say 0." in printed


def test_policies_of_different_models_are_refused(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "grpo" / "policy", tmp_path / "other")
    told = json.loads((tmp_path / "other/adapter_config.json").read_text())
    (tmp_path / "other/adapter_config.json").write_text(json.dumps(told | {"base_model_name_or_path": "smollm2-135m"}))
    with pytest.raises(InputError, match="different base models have no KL in common"):
        policy_compare(config(world, "grpo", str(tmp_path / "other")))


def test_what_cannot_be_compared_is_one_sentence(world: Path, tiny_model: Path) -> None:
    with pytest.raises(InputError, match="does not say from which model it began"):
        policy_compare(config(world, "grpo", str(tiny_model)))
    with pytest.raises(InputError, match="nowhere is no folder here that says from which model it began"):
        policy_compare(config(world, "grpo", "nowhere"))
    with pytest.raises(InputError, match="no policies to compare"):
        policy_compare(config(world))
    with pytest.raises(InputError, match="write nats above 0"):
        policy_compare(config(world, "grpo", at_kl="2;5"))
    with pytest.raises(InputError, match=r"one reply to each prompt, drawn as it is.*leave temperature out"):
        policy_compare(config(world, "grpo", sampling=Sampling(temperature=0.5)))


def test_what_would_be_compared_wrongly_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="grpo is named twice; name each policy once"):
        policy_compare(config(world, "grpo", "grpo"))
    for option in ({"top_k": 3}, {"top_p": 0.5}, {"min_tokens": 2}, {"temperature": 0.5}):
        with pytest.raises(InputError, match=f"leave {next(iter(option))} out"):
            policy_compare(config(world, "grpo", sampling=Sampling(max_tokens=8, **option)))  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):  # the command line says it in a sentence, and before anything is measured
        policy_compare(config(world, "grpo", out=tmp_path / "file"))
    assert main(["policy", "compare", str(world / "grpo"), "--tasks", "none.jsonl", "--at-kl", "x"]) == 2


def test_another_base_model_than_the_policys_own_is_told(world: Path, tmp_path: Path, tiny_writer: Any) -> None:
    tiny_writer(tmp_path, seed=1)
    with pytest.warns(UserWarning, match=r"grpo says that it began from .*; it is measured as if it had begun from"):
        policy_compare(config(world, "grpo", base=str(tmp_path)))


def test_a_bound_is_told_as_one_and_names_are_no_markup(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(world / "grpo", tmp_path / "[bold]one")
    words = ["policy", "compare", tmp_path / "[bold]one", "--tasks", world / "prompts.jsonl", "--measure-on", "4"]
    words += ["--reward", f"{world}/rewards.py:short", "--max-tokens", "8", "--compare-best-of", "2", "--show", "0"]
    assert main([str(word) for word in words]) == 0
    told = capsys.readouterr().out
    assert "[bold]one" in told
    assert "at most 0.193" in told  # log 2 - 1/2
