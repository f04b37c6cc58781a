"""The studies of oversight and of assisted labels run, and go on where they were, on a model so small that numbers mean nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_policy_studies import FOLDER, run

from custodes.feedback.assisted import SimulatedCritic


def test_oversight_is_studied_with_what_it_caught_and_cost(model: Path, tmp_path: Path) -> None:
    (found,) = run("oversight.py", tmp_path / "out", model)
    assert {"base", "nobody"} < set(found["arms"])
    for name, measures in found["oversight"].items():
        assert measures["actions"] == 8, name
        assert measures["seconds_in_all"] == 20 * measures["asked"]
        assert "harm minus nobody's" in found["arms"][name]
    assert found["oversight"]["catch .8, the best quarter seen"]["asked"] == 2
    assert run("oversight.py", tmp_path / "out", model) == [found]


def test_assisted_labels_are_studied_over_a_grid(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    sys.modules.pop("arms", None)
    import assisted_labels

    def worth(task: object, text: str) -> float:
        return len(text) % 7 / 6  # a tiny model gives no answers, so gold is made up

    monkeypatch.setattr(assisted_labels, "gold", worth)
    monkeypatch.setattr(
        SimulatedCritic, "seen", lambda self, judge, task, text, helped, seed: worth(task, text) if helped else 0.5
    )
    monkeypatch.setattr(assisted_labels, "CATCH", (0.3,))
    monkeypatch.setattr(assisted_labels, "MISLED", (0.0, 0.4))
    words = [
        "--out",
        tmp_path / "out",
        "--model",
        model,
        "--held-out",
        "6",
        "--judged",
        "8",
        "--crowds",
        "2",
        "--max-tokens",
        "8",
    ]
    monkeypatch.setattr(sys, "argv", ["assisted_labels.py", *map(str, words)])
    assisted_labels.main()
    found = json.loads(capsys.readouterr().out)
    assert len(found["cells"]) == 1 * 4 * 2
    assert found["pairs"] > 0
    for cell in found["cells"]:
        assert cell["comparisons"]["assisted"] < cell["comparisons"]["alone"]
        assert cell["assisted minus alone"]["n"] == found["tasks"]
    kept = (tmp_path / "out" / "features.npy").stat().st_mtime_ns
    assisted_labels.main()
    assert json.loads(capsys.readouterr().out) == found
    assert (tmp_path / "out" / "features.npy").stat().st_mtime_ns == kept
