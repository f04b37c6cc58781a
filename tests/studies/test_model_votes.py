"""The study of a model's votes counts values by votes, and functions that a review would wrongly hold something against."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from custodes.critic.review.proposals import ExpectedValue

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(STUDIES))
    sys.modules.pop("model_votes", None)
    return import_module("model_votes")


def test_values_are_held_to_what_the_function_gives(study: ModuleType, tmp_path: Path):
    file = tmp_path / "twice.py"
    text = "def twice(n):\n    return 2 * n\n\n\ndef each(n):\n    yield from range(n)\n"
    file.write_text(text)
    expected = {
        (str(file), "twice"): [ExpectedValue("twice(2)", "4", 6, 6, 6), ExpectedValue("twice(3)", "7", 1, 6, 6)],
        (str(file), "each"): [ExpectedValue("each(2)", "[0, 1]", 3, 3, 6), ExpectedValue("each(x)", "[]", 2, 2, 6)],
    }
    rows = study.held_to({str(file): text}, expected)
    assert [row["right"] for row in rows] == [True, False, True, False]


def test_votes_and_functions_are_counted(study: ModuleType):
    rows = [
        {"function": function, "votes": votes, "of": 6, "right": right}
        for function, votes, right in (("f", 6, True), ("f", 3, False), ("g", 6, True), ("g", 2, False))
    ]
    found = study.table(rows)
    assert found["by votes"][6].estimate == 1
    assert found["by agreement"]["3 votes, 0.5"]["functions with a wrong one"].estimate == pytest.approx(0.5)
    assert found["by agreement"]["6 votes, 0.9"]["functions with a wrong one"].estimate == 0
