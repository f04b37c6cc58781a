"""Environments of one's own that break: one sentence that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from custodes.environments.own import BrokenEnvironment, own_environment
from custodes.types import InputError, Message, Task

CODE = """import sys

class Odd:
    def start(self, task):
        return None

    def step(self, reply):
        sys.exit("enough")

    def reward(self):
        return "much"

    def close(self):
        raise OSError("cannot close")
"""


def test_what_breaks_is_named_by_its_method(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(CODE)
    play = own_environment(f"{tmp_path}/odd.py:Odd")(Task("t", (Message("user", "Say."),)))
    with pytest.raises(BrokenEnvironment, match=r"failed in step at .*odd\.py, line 8 \(SystemExit: enough\)"):
        play.step("So.")
    with pytest.raises(
        BrokenEnvironment, match=r"Odd\.reward returned 'much'; it must return a finite number, or None"
    ):
        play.reward()
    (tmp_path / "odd.py").write_text(CODE.replace('"much"', "None"))
    play = own_environment(f"{tmp_path}/odd.py:Odd")(Task("t", (Message("user", "Say."),)))
    with pytest.raises(BrokenEnvironment, match=r"failed in close .*OSError: cannot close"):
        play.close()


def test_a_file_that_ends_python_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("import sys\nsys.exit(4)\n")
    with pytest.raises(InputError, match=r"odd\.py, line 2: SystemExit: 4"):
        own_environment(f"{tmp_path}/odd.py:Odd")
