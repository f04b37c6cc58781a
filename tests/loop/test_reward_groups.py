"""From judgments of two groups to a reward with an output for each, and a policy that serves the worst-off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from custodes.cli import main
from custodes.ledger import Ledger

PEOPLE = [f"p{n:02d}" for n in range(10)]
MINORITY = PEOPLE[7:]
WORDS = ("fox", "dog", "seven", "model", "watch", "number", "short", "lazy", "quick", "brown")
FAST = ["--epochs", "3", "--rank", "4", "--learning-rate", "5e-3", "--head-learning-rate", "2e-2", "--first-layer", "0"]


def preferences(path: Path, each: int = 24, named: bool = True) -> Path:
    """A majority prefers the reply that says "thanks", a minority the one that says "never"; one answer in ten is a slip."""
    rng = np.random.default_rng(0)
    prompts = [" ".join(rng.choice(WORDS, 5)) for _ in range(40)]
    replies = [[f"{' '.join(rng.choice(WORDS, 3))} {word}" for word in ("thanks", "never")] for _ in prompts]
    rows = []
    for name in PEOPLE:
        for n in rng.choice(40, each, replace=False):
            better = int(name in MINORITY) ^ int(rng.random() < 0.1)
            row = {"prompt": prompts[n], "chosen": replies[n][better], "rejected": replies[n][1 - better]}
            rows.append(row | ({"annotator": name} if named else {}))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def called(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main([*map(str, words), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def world(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward with two groups."""
    folder = tmp_path_factory.mktemp("groups")
    path = preferences(folder / "prefs.jsonl")
    words = [
        "--judgments",
        path,
        "--out",
        folder / "reward",
        "--model",
        tiny_model,
        "--groups",
        "2",
        "--held-out",
        "0.25",
    ]
    assert main(["reward", "train", *map(str, words), *FAST]) == 0
    return folder


def test_each_group_has_an_output_that_serves_it(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads((world / "reward" / "training.json").read_text())
    groups = told["groups"]["groups"]
    assert set(groups[1]["annotators"]) == set(MINORITY)
    assert len(told["groups"]["readings"][0]["readings"]) == 2
    assert {"r2", "one_group"} <= told["groups"]["r2"].keys()
    accuracy = told["accuracy_of_groups"]["groups"]
    for group in accuracy:
        assert group["own"]["estimate"] > 0.75
    assert accuracy[0]["value"]["estimate"] > 0.75 > 0.4 > accuracy[1]["value"]["estimate"]
    assert told["accuracy_of_groups"]["worst"] == accuracy[1]["value"]
    again = called(capsys, "reward", "evaluate", "--model", world / "reward", "--judgments", world / "prefs.jsonl")
    assert again["accuracy_of_groups"]["groups"][1]["own"]["estimate"] > 0.75
    assert again["groups"]["membership"]["p09"][1] > 0.9


def test_people_who_are_new_are_told_by_what_they_prefer(
    world: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    renamed = (world / "prefs.jsonl").read_text().replace('"p', '"new')
    (tmp_path / "new.jsonl").write_text(renamed.replace('"newrompt"', '"prompt"'))
    told = called(capsys, "reward", "evaluate", "--model", world / "reward", "--judgments", tmp_path / "new.jsonl")
    groups = told["accuracy_of_groups"]["groups"]
    assert groups[1]["own"]["estimate"] > 0.75
    assert groups[1]["value"]["estimate"] < 0.4


def test_groups_are_in_the_ledger_and_the_report(world: Path, tmp_path: Path) -> None:
    assert main(["audit", "report", str(world / "reward" / "ledger.db"), "--out", str(tmp_path / "report")]) == 0
    page = next((tmp_path / "report").rglob("*.html")).read_text()
    assert "Reading 1" in page
    assert "r², what replies explain" in page
    assert "Accuracy of the reward reward" not in page


def test_a_policy_is_optimised_for_the_worst_off(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    rows = [{"prompt": " ".join(rng.choice(WORDS, 5))} for _ in range(24)]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "policy", "optimise", "--model", tiny_model, "--tasks", tmp_path / "tasks.jsonl", "--reward", world / "reward",
        "--steps", "2", "--tasks-per-step", "4", "--n", "2", "--max-tokens", "8", "--measure-on", "4", "--evaluate-every", "2",
    ]  # fmt: skip
    for how in ("maxmin", "quantile:0.1", "group:2"):
        called(capsys, *words, "--out", tmp_path / how.replace(":", "-"), "--aggregate", how)
    with Ledger.open(tmp_path / "maxmin" / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        scores = list(ledger.scores(run.id))
    assert scores
    assert all(set(score.parts) == {"group_1", "group_2"} for score in scores)
    assert main([*map(str, words), "--out", str(tmp_path / "x"), "--aggregate", "group:3"]) == 2
    assert "has 2 groups" in capsys.readouterr().err


def test_what_a_person_takes_for_poisoners_weighs_nothing(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = preferences(tmp_path / "prefs.jsonl")
    words = ["--judgments", path, "--out", tmp_path / "reward", "--model", tiny_model, "--groups", "2", *FAST]
    called(capsys, "reward", "train", *words, "--decide", "2=poisoners")
    settings = json.loads((tmp_path / "reward" / "reward.json").read_text())
    assert settings["value"] == {"group_1": 1.0, "group_2": 0.0}
    with Ledger.open(tmp_path / "reward" / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        (decision,) = ledger.decisions(run.id)
    assert decision.id == "group-2-poisoners"


def test_a_mean_and_a_variance_are_trained_and_evaluated(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = preferences(tmp_path / "prefs.jsonl")
    words = ["--judgments", path, "--out", tmp_path / "reward", "--model", tiny_model, *FAST]
    called(capsys, "reward", "train", *words, "--spread", "mean-variance")
    told = called(capsys, "reward", "evaluate", "--model", tmp_path / "reward", "--judgments", path)
    assert 0 < told["r2"]["estimate"] < 1
    assert told["accuracy"] > 0.5
    of_judgments = told["r2_of_judgments"]  # people disagree here, and r2 without that stands beside
    assert of_judgments["r2"]["estimate"] < of_judgments["one_group"]["estimate"]
    nameless = preferences(tmp_path / "nameless.jsonl", named=False)
    assert main(["reward", "evaluate", "--model", str(tmp_path / "reward"), "--judgments", str(nameless)]) == 0
    assert "r2 without disagreement cannot be told" in capsys.readouterr().out


def test_comparisons_weigh_as_their_annotators_do_in_a_population(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where those who were asked too seldom are most of the population, the reward is theirs."""
    path = preferences(tmp_path / "prefs.jsonl")
    rows = [f"{name},{'island' if name in MINORITY else 'land'}" for name in PEOPLE]
    (tmp_path / "people.csv").write_text("\n".join(["annotator,home", *rows]) + "\n")
    (tmp_path / "population.yaml").write_text("home: {land: 0.05, island: 0.95}\n")
    both = ["--profiles", tmp_path / "people.csv", "--population", tmp_path / "population.yaml"]
    plain = called(
        capsys, "reward", "train", "--judgments", path, "--out", tmp_path / "a", "--model", tiny_model, *FAST
    )
    raked = called(
        capsys, "reward", "train", "--judgments", path, "--out", tmp_path / "b", "--model", tiny_model, *FAST, *both
    )
    assert plain["evaluation"]["accuracy"] > 0.5 > raked["evaluation"]["accuracy"]  # of judgments, most by the majority


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--groups", "2", "--spread", "mean-variance"], "give one"),
        (["--groups", "2", "--axes", "overall"], "leave out --axes"),
        (["--decide", "2=minority"], "look for groups with --groups"),
        (["--population", "p.yaml"], "give a table with --profiles"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], sentence: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = preferences(tmp_path / "prefs.jsonl")
    given = ["--judgments", path, "--out", tmp_path / "reward", "--model", tiny_model, *words]
    assert main(["reward", "train", *map(str, given)]) == 2
    assert sentence in capsys.readouterr().err


def test_groups_of_a_file_without_annotators_are_refused(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = preferences(tmp_path / "prefs.jsonl", named=False)
    given = ["--judgments", path, "--out", tmp_path / "reward", "--model", tiny_model, "--groups", "2"]
    assert main(["reward", "train", *map(str, given)]) == 2
    assert 'need a column "annotator"' in capsys.readouterr().err
