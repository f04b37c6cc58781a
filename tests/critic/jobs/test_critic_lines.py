"""Training and measuring scorers of lines, from the command line."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.ledger import Ledger


def rows(count: int, split: str, seed: int) -> list[dict[str, object]]:
    """A bug is a line that says so; a third is clean."""
    draw = random.Random(seed)
    made: list[dict[str, object]] = []
    for i in range(count):
        lines = ["def f(x):", *(f"    {draw.choice('abcd')} = {draw.randint(0, 9)}" for _ in range(3))]
        at = draw.randrange(1, 4)
        clean = i % 3 == 0
        if not clean:
            lines[at] = "    q - zz"
        bug = [] if clean else [at + 1]
        made.append(
            {"id": f"{split}{i}", "code": "\n".join(lines), "bug_lines": bug, "split": split, "function": f"{split}{i}"}
        )
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "bugs.jsonl"
    made = rows(150, "train", 0) + rows(40, "held-out functions", 1) + rows(40, "held-out packages", 2)
    file.write_text("\n".join(json.dumps(row) for row in made) + "\n")
    return file


@pytest.fixture(scope="module")
def critic(data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("critic")
    fast = [
        "--learning-rate",
        "0.01",
        "--batch",
        "8",
        "--rank",
        "4",
        "--width",
        "64",
        "--reader-layers",
        "1",
        "--passes",
        "4",
    ]
    command = [
        "critic",
        "train",
        "--data",
        str(data),
        "--out",
        str(out),
        "--model",
        str(tiny_model),
        "--dtype",
        "float32",
    ]
    assert main([*command, "--calibrate-on", "0.2", *fast]) == 0
    return out


def told(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, dict[str, float]]:
    assert main(["critic", "evaluate", *command, "--dtype", "float32", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_was_trained_is_better_than_chance_on_what_it_never_saw(
    critic: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    found = told(capsys, "--data", str(data), "--critic", str(critic), "--split", "held-out packages")
    assert found["at_1"]["low"] > found["chance"]  # type: ignore[operator]
    assert found["at_3"]["estimate"] >= found["at_1"]["estimate"]
    assert found["at_1"]["n"] + found["false_alarms"]["n"] == 40
    assert 0 <= found["findings"]["estimate"] <= 3


def test_what_was_measured_is_in_the_ledger(critic: Path) -> None:
    with Ledger.open(critic / "ledger.db", read_only=True) as ledger:
        run = ledger.runs()[-1]
        assert run.status == "completed"
        names = {e.name for e in ledger.evaluations(run.id)}
        assert names == {"held-out functions", "held-out packages"}
        assert [m.kind for m in ledger.models(run.id)] == ["critic"]


def test_the_untrained_model_is_measured_beside_it(
    data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, "--data", str(data), "--model", str(tiny_model), "--rows", "0:30")
    assert found["at_1"]["n"] == 20
    assert main(["critic", "evaluate", "--data", str(data), "--model", str(tiny_model), "--rows", "0:30"]) == 0
    assert "clean functions reported" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("{", "line 1 is not JSON"),
        ('{"bug_lines": []}', 'no text in "code"'),
        ('{"code": "a\\nb", "bug_lines": []}\n{"code": "a\\nb", "bug_lines": [3]}', "line 2: \"bug_lines\" is [3]; give a list of numbers from 1 to 2"),
        ('{"code": "a"}', '"bug_lines" is None'),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_are_named(
    content: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content)
    assert main(["critic", "evaluate", "--data", str(file)]) == 2
    assert sentence in capsys.readouterr().err


def test_what_is_no_critic_and_no_split_is_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["critic", "evaluate", "--data", str(data), "--critic", str(tmp_path)]) == 2
    assert "is no critic" in capsys.readouterr().err
    assert main(["critic", "evaluate", "--data", str(data), "--split", "mine"]) == 2
    assert "no row of split 'mine'" in capsys.readouterr().err
    assert main(["critic", "evaluate", "--data", str(tmp_path / "none.jsonl")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_what_is_not_a_number_is_null_in_json(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "clean.jsonl"
    file.write_text('{"id": "1", "code": "x = 1", "bug_lines": []}\n')
    assert main(["critic", "evaluate", "--data", str(file), "--model", str(tiny_model), "--json"]) == 0
    printed = capsys.readouterr().out
    found = json.loads(printed, parse_constant=pytest.fail)
    assert found["chance"] is None
    assert found["false_alarms"]["n"] == 1


OWN = """
import numpy as np
from custodes.critic.lines import probabilities
from custodes.registry import scorer


class Longest:
    temperature, level, threshold = 1.0, 0.0, 0.5

    def fingerprint(self):
        return "longest"

    def scores(self, codes):
        return [probabilities(np.array([float(len(line)) for line in code.split("\\n")]), self.level) for code in codes]


@scorer
def longest(model, dtype):
    return Longest()
"""


def test_a_scorer_of_ones_own_is_measured_as_a_built_in_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    rows = tmp_path / "rows.jsonl"
    found_there, elsewhere = "def f(x):\n    y = x + 1000\n    return y", "def f(x):\n    y = x\n    return y + 1000"
    rows.write_text(
        "".join(json.dumps({"code": c, "bug_lines": [2], "id": c}) + "\n" for c in (found_there, elsewhere))
    )
    found = told(capsys, "--data", str(rows), "--critic", f"{file}:longest")
    assert (found["at_1"]["estimate"], found["at_3"]["estimate"]) == (0.5, 1)
    assert main(["critic", "evaluate", "--data", str(rows), "--critic", "longst"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "longst is no critic: give likelihood, shipped, FILE.py:Name, or a folder" in said
