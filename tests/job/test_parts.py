"""Long work in parts."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from custodes.job.parts import Parts
from custodes.types import InputError


def test_what_was_answered_before_an_interruption_is_not_asked_again(tmp_path: Path) -> None:
    asked, seen = {str(n): n for n in range(7)}, list[int]()

    def answer(some: Sequence[int]) -> list[int]:
        if 4 in some and len(seen) < 5:
            raise KeyboardInterrupt
        seen.extend(some)
        return [n * n for n in some]

    with pytest.raises(KeyboardInterrupt), Parts.open(tmp_path / "out", {"seed": 0}) as parts:
        parts.answers(asked, answer, "squaring", 2)
    assert seen == [0, 1, 2, 3]
    seen.append(-1)
    with Parts.open(tmp_path / "out", {"seed": 0}) as parts:
        found = parts.answers(asked, answer, "squaring", 2)
    assert found == [0, 1, 4, 9, 16, 25, 36]
    assert seen == [0, 1, 2, 3, -1, 4, 5, 6]


def test_another_identity_knows_nothing(tmp_path: Path) -> None:
    for seed, said, known in ((0, 1, 1), (0, 2, 1), (1, 2, 2)):
        with Parts.open(tmp_path / "out", {"seed": seed}) as parts:
            assert parts.answer("a", lambda said=said: said) == known


def test_two_processes_do_not_share_what_they_know(tmp_path: Path) -> None:
    with Parts.open(tmp_path / "out", {"seed": 0}) as parts:
        with pytest.raises(InputError, match="in use by another process"), Parts.open(tmp_path / "out", {"seed": 0}):
            pass
        with Parts.open(tmp_path / "out", {"seed": 1}) as other:
            assert other.folder != parts.folder
