"""Long work in parts."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from custodes.job.parts import Parts


def test_what_was_answered_before_an_interruption_is_not_asked_again(tmp_path: Path) -> None:
    asked, seen = {str(n): n for n in range(7)}, list[int]()

    def answer(some: Sequence[int]) -> list[int]:
        if 4 in some and len(seen) < 5:
            raise KeyboardInterrupt
        seen.extend(some)
        return [n * n for n in some]

    with pytest.raises(KeyboardInterrupt):
        Parts(tmp_path / "out", {"seed": 0}).answers(asked, answer, "squaring", 2)
    assert seen == [0, 1, 2, 3]
    seen.append(-1)
    found = Parts(tmp_path / "out", {"seed": 0}).answers(asked, answer, "squaring", 2)
    assert found == [0, 1, 4, 9, 16, 25, 36]
    assert seen == [0, 1, 2, 3, -1, 4, 5, 6]


def test_another_identity_knows_nothing(tmp_path: Path) -> None:
    assert Parts(tmp_path / "out", {"seed": 0}).answer("a", lambda: 1) == 1
    assert Parts(tmp_path / "out", {"seed": 0}).answer("a", lambda: 2) == 1
    assert Parts(tmp_path / "out", {"seed": 1}).answer("a", lambda: 2) == 2
