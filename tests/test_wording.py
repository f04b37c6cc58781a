"""Numbers of things in sentences."""

from __future__ import annotations

from custodes.wording import counted


def test_one_is_one_and_all_others_are_several() -> None:
    assert [counted(n, "step") for n in (0, 1, 2, 1200)] == ["0 steps", "1 step", "2 steps", "1,200 steps"]
    assert [counted(n, "reply", "replies") for n in (1, 2)] == ["1 reply", "2 replies"]
