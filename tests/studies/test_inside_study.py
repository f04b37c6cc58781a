"""The study of the inside runs on a model so small that the numbers mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

from test_policy_studies import run


def test_a_direction_and_edits_are_studied(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data" / "political_typology"
    data.mkdir(parents=True)
    for side, people in (
        ("conservative", "fish hunt farm ride sail row"),
        ("liberal", "paint read sing dance knit act"),
    ):
        rows = [
            {
                "prompt": f"I {who}. Question {n}?\n (A) yes {n}\n (B) no {n}\n\nAnswer:",
                "corrects": [f" ({'AB'[n % 2]})"],
            }
            for n in range(3)
            for who in people.split()
        ]
        (data / f"{side}_bio.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    few = ("--data", str(data.parent), "--examples", "8", "--epochs", "1", "--items", "40", "--measure-on", "8")
    few = (*few, "--random", "3", "--value-steps", "1", "--key-replies", "4")
    (found,) = run("inside.py", tmp_path / "out", model, *few)
    assert found["direction"]["random directions that change it less"][1] == 3
    assert found["direction"]["change"]["n"] >= 2
    assert found["edits"]["P(the new answer)"]["before"]["n"] == 20
    assert found["edits"]["layer"] == 0
