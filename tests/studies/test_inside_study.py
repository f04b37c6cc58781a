"""The study of the inside runs on a model so small that the numbers mean nothing."""

from __future__ import annotations

from pathlib import Path

from test_policy_studies import people_who_ask, run


def test_a_direction_and_edits_are_studied(model: Path, tmp_path: Path) -> None:
    data = people_who_ask(tmp_path / "data", 3)
    few = ("--data", str(data), "--examples", "8", "--epochs", "1", "--items", "40", "--measure-on", "8")
    few = (*few, "--random", "3", "--value-steps", "1", "--key-replies", "4")
    (found,) = run("inside.py", tmp_path / "out", model, *few)
    assert found["direction"]["random directions that change it less"][1] == 3
    assert found["direction"]["change"]["n"] >= 2
    assert found["edits"]["P(the new answer)"]["before"]["n"] == 20
    assert found["edits"]["layer"] == 0
