"""Known truths: how they are read, and what is stated set beside what came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custodes.feedback.truths import read_truths, read_winners, realised
from custodes.types import InputError


def test_truths_come_from_any_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Task;Gold\nt1; yes \nt2;no\nt2;no\n")
    with pytest.warns(UserWarning, match="'Gold' for label"):
        assert read_truths(tmp_path / "t.csv") == {"t1": "yes", "t2": "no"}
    (tmp_path / "t.jsonl").write_text('{"task": 1, "label": true}\n{"task": 2.0, "label": false}\n')
    assert read_truths(tmp_path / "t.jsonl") == {"1": "true", "2": "false"}


def test_winners_are_named_by_item_or_by_side(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("left,right,label\nB,A,A\nA,C,\n")
    assert read_winners(tmp_path / "t.csv") == {("A", "B"): "A", ("A", "C"): ""}
    (tmp_path / "t.csv").write_text("model_a,model_b,winner\nB,A,model_b\nA,C,tie (bothbad)\nC,B,Model_A\n")
    with pytest.warns(UserWarning, match="'winner' for label"):
        assert read_winners(tmp_path / "t.csv") == {("A", "B"): "A", ("A", "C"): "", ("B", "C"): "C"}


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (read_truths, "task,label\nt1,yes\nt1,no\n", r"row 3: the truth of 't1' is 'no' here and 'yes' in an earlier"),
        (read_truths, "task,label\nt1,\n", r"row 2, column 'label': empty"),
        (read_winners, "left,right,label\nA,B,A\nB,A,B\n", r"row 3: the truth of 'A' and 'B' is 'B' here and 'A'"),
        (read_winners, "left,right,label\nA,B,C\n", r"row 2, column 'label': 'C'; it should be 'A', 'B' or empty"),
        (read_winners, "left,right\nA,B\n", r"column 'label' is missing"),
    ],
)
def test_truths_that_contradict_are_refused(tmp_path: Path, read, text: str, says: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        read(tmp_path / "t.csv")


def test_what_is_stated_stands_beside_what_came() -> None:
    right = np.arange(400) % 10 < 6
    sure = realised(np.full(400, 0.95), right)
    assert (sure.stated, sure.right.estimate, sure.right.n) == (pytest.approx(0.95), 0.6, 400)
    assert sure.calibration_error.estimate > 0.3
    assert "right in 60.0%" in str(sure)
    assert "stated 95.0%, which is too sure" in str(sure)
    assert "too" not in str(realised(np.full(400, 0.6), right))
    with pytest.raises(InputError, match="none of the known truths"):
        realised([], [])
