"""What ``custodes feedback annotators`` says of groups, gaps, weights, circles and repeats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from custodes.cli import main
from custodes.ledger import Ledger

PEOPLE = [f"p{n:02d}" for n in range(20)]
BRIEF = PEOPLE[14:]


def preferences(path: Path, each: int = 30, named: bool = True) -> Path:
    """Pairs that 20 people judged: 14 prefer what is longer and 6 what is shorter, all with the same noise."""
    rng = np.random.default_rng(2)
    rows = []
    for name in PEOPLE:
        for n in rng.choice(60, each, replace=False):
            texts = [f"Answer {n} {side} " + "word " * int(4 + (7 * n + 29 * side) % 40) for side in (0, 1)]
            gain = np.log(len(texts[0]) / len(texts[1])) * (-2.5 if name in BRIEF else 2.5)
            better = 0 if rng.random() < 1 / (1 + np.exp(-gain)) else 1
            row = {"prompt": f"Question {n}?", "chosen": texts[better], "rejected": texts[1 - better]}
            rows.append(row | ({"annotator": name} if named else {}))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict:
    assert main(["feedback", "annotators", "--judgments", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["feedback", "annotators", "--judgments", *map(str, words)]) == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("custodes: ")
    assert sentence.count("\n") == 1
    return sentence


def test_groups_are_found_and_said_in_words_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = preferences(tmp_path / "prefs.jsonl")
    groups = told(capsys, path, "--groups", "0")["groups"]
    assert len(groups["groups"]) == 2
    assert set(groups["groups"][1]["annotators"]) == set(BRIEF)
    length = groups["features"].index("length")
    assert groups["groups"][1]["weights"][length] < -0.4 < 0.4 < groups["groups"][0]["weights"][length]
    assert len(groups["readings"][0]["readings"]) == 2
    assert main(["feedback", "annotators", "--judgments", str(path), "--groups", "2"]) == 0
    text = capsys.readouterr().out
    assert "Group 2, 6 of 20 annotators, by log-odds per standard deviation: length -" in text
    assert "Reading 1" in text
    assert "Reading 2" in text
    assert "--decide 2=minority or --decide 2=poisoners" in text


def test_what_a_person_decides_is_in_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, ledger = preferences(tmp_path / "prefs.jsonl"), tmp_path / "ledger.db"
    told(capsys, path, "--groups", "2", "--decide", "2=minority", "--ledger", ledger)
    with Ledger.open(ledger, read_only=True) as held:
        (run,) = held.runs()
        (decision,) = held.decisions(run.id)
    assert decision.id == "group-2-minority"
    assert set(decision.subject.split(", ")) == set(BRIEF)
    assert "A person decided." in decision.why


def test_groups_of_a_file_without_annotators_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = preferences(tmp_path / "prefs.jsonl", named=False)
    assert 'groups of annotators need a column "annotator"' in refused(capsys, path, "--groups", "2")


def test_one_judgment_an_annotator_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = preferences(tmp_path / "prefs.jsonl", each=1)
    assert "0 of 20 annotators judged more than once" in refused(capsys, path, "--groups", "2")


def test_more_groups_than_annotators_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = preferences(tmp_path / "prefs.jsonl")
    few = [row for row in path.read_text().splitlines(keepends=True) if '"p00"' in row or '"p01"' in row]
    path.write_text("".join(few))
    assert "3 groups of 2 annotators in prefs.jsonl; ask for 1 to 2" in refused(capsys, path, "--groups", "3")


def test_gaps_and_weights_for_a_population(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = preferences(tmp_path / "prefs.jsonl")
    rows = [f"{name},{'village' if name in BRIEF else 'town'}" for name in PEOPLE]
    (tmp_path / "people.csv").write_text("\n".join(["annotator,home", *rows]) + "\n")
    (tmp_path / "population.yaml").write_text("home: {town: 0.5, village: 0.5}\n")
    both = ["--profiles", tmp_path / "people.csv", "--population", tmp_path / "population.yaml"]
    found = told(capsys, path, *both)
    village = next(gap for gap in found["gaps"] if gap["category"] == "village")
    assert village["gap"]["high"] < 0
    assert found["raked"]["weights"]["p19"] == pytest.approx(0.5 * 20 / 6)
    assert main(["feedback", "annotators", "--judgments", str(path), *map(str, both)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "home village, 6 annotators: agree with everybody else in" in text
    assert "20 annotators count as 16.8 equal ones" in text
    (tmp_path / "population.yaml").write_text("home: {town: 0.5, village: 0.4, camp: 0.1}\n")
    assert "no annotator is 'camp', 10% of the population" in refused(capsys, path, *both)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--decide", "2=minority"], "look for groups with --groups"),
        (["--population", "p.yaml"], "give a table with --profiles"),
        (["--groups", "6"], "option groups is 6; it must be from 0 to 5"),
        (["--groups", "2", "--decide", "3=minority"], "there are 2 groups"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in refused(capsys, preferences(tmp_path / "prefs.jsonl"), *words)
