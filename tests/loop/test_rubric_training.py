"""``custodes reward train --rubric`` from a file of judgments to a reward that scores samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.reward import rubric_weights

RUBRIC = """
name: manners
version: "1"
principles:
  - {name: kind, text: "The answer is kind."}
  - {name: short, text: "The answer is short.", weight: 2}
"""


@pytest.fixture
def words(tiny_model: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "rubric.yaml").write_text(RUBRIC)
    rows = [{"prompt": f"Say {n}.", "chosen": f"Yes, {n} it is.", "rejected": f"no {n}"} for n in range(40)]
    (tmp_path / "prefs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"judgments": "prefs.jsonl", "rubric": "rubric.yaml", "out": "out"}
    return ["reward", "train", "--model", str(tiny_model), "--held-out", "0.25"] + [
        word for name, file in given.items() for word in (f"--{name}", str(tmp_path / file))
    ]


def test_the_fitted_rubric_scores_samples(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights"].keys() == {"kind", "short"}
    assert (found["pairs"], found["ungraded"], found["accuracy"]["n"]) == (40, 0, 10)
    ask = ["policy", "sample", "--model", words[3], "--prompt", "Hello?", "--reward", str(tmp_path / "out"), "--json"]
    assert main([*ask, "--max-tokens", "4"]) == 0
    assert -1 <= json.loads(capsys.readouterr().out)["score"] <= 1
    assert main(["verify", str(tmp_path / "out" / "ledger.db")]) == 0


def test_what_was_graded_is_not_graded_again(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--json"]) == 0
    straight = json.loads(capsys.readouterr().out)
    graded, calls = rubric_weights.grade_pairs, []

    def breaks_off(judge: object, pairs: list[object]) -> object:
        calls.append(len(pairs))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return graded(judge, pairs)  # type: ignore[arg-type]

    monkeypatch.setattr("custodes.loop.rubric_training.grade_pairs", breaks_off)
    again = [word.replace(str(tmp_path / "out"), str(tmp_path / "again")) for word in words]
    assert main(again) == 130
    assert main([*again, "--json"]) == 0
    assert sum(calls) == 40 + 16  # the part that was broken off is asked again
    assert json.loads(capsys.readouterr().out) | {"model": ""} == straight | {"model": ""}


def test_bad_rubrics_are_one_sentence(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rubric.yaml").write_text(RUBRIC.replace("weight: 2", "weight: 0"))
    assert main(words) == 2
    assert "a weight of 0 leaves the principle without effect" in capsys.readouterr().err
    (tmp_path / "rubric.yaml").write_text(RUBRIC.replace('version: "1"', 'version: "1"\ngrade: stars'))
    assert main(words) == 2
    assert "field 'grade'" in capsys.readouterr().err
