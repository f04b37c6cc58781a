"""The studies of policies run, and go on where they were, on a model so small that the numbers mean nothing."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import warnings
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "studies"
SMALL = ("--steps", "1", "--held-out", "3", "--tasks-per-step", "2", "--max-tokens", "4")


def studied(script: str, *words: object) -> str:
    """What a study prints. It runs in this process: its imports are most of what it would take in one of its own."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how little so few pairs tell
        patch.setattr(sys, "argv", [script, *map(str, words)])
        patch.syspath_prepend(FOLDER)
        runpy.run_path(str(FOLDER / script), run_name="__main__")
    return printed.getvalue()


def run(script: str, out: Path, model: Path, *more: str) -> list[dict]:
    return json.loads(studied(script, "--out", out, "--model", model, *SMALL, *more))


def people_who_ask(data: Path, questions: int) -> Path:
    """A folder of data with so many made-up questions, each asked by six people of either side."""
    folder = data / "political_typology"
    folder.mkdir(parents=True)
    for side, people in (
        ("conservative", "fish hunt farm ride sail row"),
        ("liberal", "paint read sing dance knit act"),
    ):
        rows = [
            {
                "prompt": f"I {who}. Question {n}?\n (A) yes {n}\n (B) no {n}\n\nAnswer:",
                "corrects": [f" ({'AB'[n % 2]})"],
            }
            for n in range(questions)
            for who in people.split()
        ]
        (folder / f"{side}_bio.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data


def test_a_constraint_is_studied_with_intervals_and_again_without_drawing(model: Path, tmp_path: Path) -> None:
    (found,) = run("constraint_kept.py", tmp_path / "out", model)
    assert set(found["arms"]) == {"base", "bounded", "free", "weight 0.25", "weight 0.5", "weight 1", "weight 2"}
    assert found["long, last 8 steps"]["n"] == 2
    assert len(found["multiplier"]) == 1
    drawn = (tmp_path / "out/seed-0/free/held_out.json").stat().st_mtime_ns
    assert run("constraint_kept.py", tmp_path / "out", model) == [found]
    assert (tmp_path / "out/seed-0/free/held_out.json").stat().st_mtime_ns == drawn
    assert json.loads((tmp_path / "out/constraint_kept.json").read_text()) == [found]


def test_a_front_is_studied_and_its_ends_are_their_own_soups(model: Path, tmp_path: Path) -> None:
    (found,) = run("objectives_front.py", tmp_path / "out", model, "--weights", "3")
    assert [point["weight"] for point in found["points"]] == [1.0, 0.5, 0.0]
    for point in found["points"]:
        lost = {name: point[f"{name} of the soup"]["estimate"] - point[name]["estimate"] for name in ("gold", "brief")}
        if point["weight"] in (0, 1):  # a soup of one policy is that policy
            assert set(lost.values()) == {0}
        weighted = point["weight"] * lost["gold"] + (1 - point["weight"]) * lost["brief"]
        assert abs(weighted - point["soup minus policy, in this weight's sum"]["estimate"]) < 1e-9
    assert set(found["rank correlation"]) == {"gold", "brief"}


def test_a_reward_from_demonstrations_is_studied_beside_one_from_answers_drawn_by_chance(
    model: Path, tmp_path: Path
) -> None:
    more = ("--tasks", "4", "--gold", "0", "--max-tokens", "48")
    (found,) = run("reward_from_demonstrations.py", tmp_path / "out", model, *more)
    assert found["demonstrations"] > 0
    for name in ("gold", "chance"):
        assert 0 <= found[f"demonstration longer, by {name}"]["estimate"] <= 1
    assert found["gold, policy minus base model"]["n"] == 3
    assert run("reward_from_demonstrations.py", tmp_path / "out", model, *more) == [found]


def test_heads_for_a_minority_are_studied_beside_one_reward_for_everybody(model: Path, tmp_path: Path) -> None:
    (found,) = run("minority_heads.py", tmp_path / "out", model, "--tasks", "3", "--epochs", "1", "--max-tokens", "24")
    assert found["membership"]["n"] == 40
    accuracy = found["accuracy"]
    assert accuracy["truth, minority"]["estimate"] > 0.5
    for group in ("majority", "minority"):
        gained = accuracy[f"mixture, {group}"]["estimate"] - accuracy[f"pooled, {group}"]["estimate"]
        assert abs(gained - found["mixture minus pooled"][group]["estimate"]) < 1e-9
    assert found["rank correlation of a probe"].keys() == {"length", "lines", "checks"}
    assert run("minority_heads.py", tmp_path / "out", model, "--tasks", "3", "--epochs", "1", "--max-tokens", "24") == [
        found
    ]


def test_length_bias_is_studied_with_length_and_without(model: Path, tmp_path: Path) -> None:
    (found,) = run("length_bias.py", tmp_path / "out", model, "--tasks", "4", "--max-tokens", "24")
    assert found["arms"].keys() == {"base", "as judged", "length taken out"}
    assert found["the crowd on length"]["log-odds per standard deviation"] > 0
    one, other = (found["arms"][name]["tokens"]["estimate"] for name in ("as judged", "length taken out"))
    assert abs(one - other - found["tokens, as judged minus length taken out"]["estimate"]) < 1e-9
    assert run("length_bias.py", tmp_path / "out", model, "--tasks", "4", "--max-tokens", "24") == [found]


def test_step_rewards_are_studied_beside_the_same_sum_at_the_end(model: Path, tmp_path: Path) -> None:
    more = ("--tasks", "6", "--seeds", "2", "--max-tokens", "40", "--words", "3")
    found = run("step_rewards.py", tmp_path / "out", model, *more)
    learned, optimised = found["learned"], found["optimised"]
    gained = learned["steps"]["estimate"] - learned["outcome"]["estimate"]
    assert abs(gained - learned["steps minus outcome"]["estimate"]) < 1e-9
    first = [row["curves"] for row in optimised["seeds"]]
    assert all(row["end"][0] == row["steps"][0] for row in first)  # before anything is learned both arms say the same
    assert [row["share of the steps, end"] for row in optimised["seeds"]] == [1.0, 1.0]
    assert run("step_rewards.py", tmp_path / "out", model, *more) == found


def test_six_methods_stand_side_by_side_at_equal_kl(model: Path, tmp_path: Path) -> None:
    more = ("--judged-tasks", "8", "--epochs", "1", "--at-kl", "0.0000001")
    (found,) = run("six_methods.py", tmp_path / "out", model, *more)
    names = {"sft", "dpo", "ipo", "kto", "best-of-n", "ppo"}
    assert set(found["at the end"]) == names
    (at,) = found["at equal KL"].values()
    assert {*at["order"], *at["not reached"]} == names
    assert at["order"]
    drawn = (tmp_path / "out/seed-0/compared/compare.json").stat().st_mtime_ns
    assert run("six_methods.py", tmp_path / "out", model, *more) == [found]
    assert (tmp_path / "out/seed-0/compared/compare.json").stat().st_mtime_ns == drawn


PROXY = ("--judged", "6", "--ties", "--every", "1", "--max-tokens", "24")


def test_the_curve_of_gold_is_studied_with_verdicts_and_the_loss_of_each_ensemble(model: Path, tmp_path: Path) -> None:
    more = (*PROXY, "--best-of", "4", "--best-of-tasks", "3", "--members", "2", "--steps", "2")
    (found,) = run("gao_curve.py", tmp_path / "out", model, *more)
    assert set(found["arms"]) == {"best of n", "single", "mean", "worst", "cautious"}
    assert [p["at"] for p in found["arms"]["best of n"]["points"]] == ["n = 1", "n = 2", "n = 4"]
    for name in ("single", "mean", "worst", "cautious"):
        assert [p["at"] for p in found["arms"][name]["points"]] == ["the base model", "step 1", "step 2"]
        assert found["arms"][name]["test"]["verdict"] == "unclear"  # three tasks tell nothing
    assert {name: less["n"] for name, less in found["loss from the peak, single minus ensemble"].items()} == {
        "mean": 3, "worst": 3, "cautious": 3,
    }  # fmt: skip
    assert run("gao_curve.py", tmp_path / "out", model, *more) == [found]


def test_no_penalty_is_studied_with_replies_on_the_way(model: Path, tmp_path: Path) -> None:
    (found,) = run("no_kl.py", tmp_path / "out", model, *PROXY)
    for name in ("no penalty", "penalty"):
        assert list(found[name]["replies"]) == ["0", "1", "last"]
        assert all(len(texts) == len(found[name]["prompts"]) == 3 for texts in found[name]["replies"].values())
        assert found[name]["course"]["0"]["surprise"]["estimate"] > 0
    assert found["no penalty"]["replies"]["0"] == found["penalty"]["replies"]["0"]
    assert run("no_kl.py", tmp_path / "out", model, *PROXY) == [found]


def test_who_judged_is_studied_on_questions_that_were_judged_and_on_others(model: Path, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"I am {name}. Question {n}?\n (A) yes {n}\n (B) no {n}\n\nAnswer:",
            "corrects": [f" ({'AB'[n % 2]})"],
        }
        for n in range(8)
        for name in ("Ann", "Bob", "Cy", "Di")
    ]
    data = tmp_path / "typology.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = ("--data", str(data), "--items", "5", "--asked", "3")
    (found,) = run("who_judged.py", tmp_path / "out", model, *more)
    assert found["questions"] == {"judged": 2, "other": 6}
    for sort in ("judged questions, other people", "other questions"):
        by_side = [found[sort][side]["liberal"]["estimate"] for side in ("liberal", "conservative")]
        assert abs(by_side[0] - by_side[1] - found[sort]["liberal minus conservative"]["estimate"]) < 1e-9
    assert run("who_judged.py", tmp_path / "out", model, *more) == [found]


def test_what_tuning_did_is_asked_of_an_organism_and_of_policies_at_equal_kl(model: Path, tmp_path: Path) -> None:
    data = people_who_ask(tmp_path / "data", 4)
    sizes = (
        "--data",
        str(data),
        "--examples",
        "8",
        "--epochs",
        "1",
        "--items",
        "40",
        "--held-out",
        "4",
        "--max-tokens",
        "4",
    )
    (found,) = run("what_tuning_did.py", tmp_path / "out", model, *sizes)
    of = found["organism"]["Political leaning, and the user's"]["The biography's option"]
    assert {"base", "flatterer", "flatterer minus base"} == set(of)
    assert of["flatterer"]["n"] == 4
    methods = tmp_path / "methods"
    (methods / "compared").mkdir(parents=True)
    curves = {}
    for name in ("dpo", "ppo"):
        folder = methods / name / "tuning" / "snapshots" / "step-000004"
        folder.mkdir(parents=True)
        for file in (tmp_path / "out" / "seed-0" / "organism").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        points = [
            {"name": "base", "kl": {"estimate": 0.0}},
            {"name": "step-000004", "kl": {"estimate": 4.0}},
            {"name": "policy", "kl": {"estimate": 9.0}},
        ]
        curves[str(methods / name)] = points
    (methods / "compared" / "compare.json").write_text(json.dumps({"curves": curves}))
    (again,) = run("what_tuning_did.py", tmp_path / "out", model, *sizes, "--six-methods", str(methods))
    assert again["organism"] == found["organism"]
    assert again["policies"]["kl at which they were taken"] == {"dpo": 4.0, "ppo": 4.0}
    assert again["policies"]["Diversity"]["Distance within a prompt"]["ppo minus base"]["n"] == 4


def test_rounds_are_studied_against_as_many_labels_at_once(model: Path, tmp_path: Path) -> None:
    sizes = (
        "--labels",
        "60",
        "--train",
        "30",
        "--kl",
        "0.0001",
        "--steps",
        "4",
        "--learning-rate",
        "2e-2",
        "--held-out",
        "10",
    )
    (found,) = run("rounds.py", tmp_path / "out", model, *sizes)
    assert found["steps of the last round, and of once"] >= 1
    assert [reward["judgments"] for reward in found["rewards"]][:2] == [0, 20]
    assert {"rounds", "once"} == set(found["gold"])
    for asked in ("first reward, final samples minus held out", "gold, rounds minus once"):
        assert found[asked]["n"] > 0
    assert found["relearned minus rounds"]["gold"]["n"] == 10
    assert run("rounds.py", tmp_path / "out", model, *sizes) == [found]
