"""A test is run in a sandbox on a module that stands alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from custodes.environments.pasted_test import run_test
from custodes.environments.sandbox import SandboxFailure
from custodes.types import InputError


@pytest.mark.parametrize(
    ("code", "came"),
    [
        ("def twice(x):\n    return x + x\n", ""),
        ("def twice(x):\n    return x + 1\n", "AssertionError"),
        ("def twice(x):\n    raise OSError('no disk')\n", "OSError: no disk"),
        ("def twice(x):\n    while True: pass\n", "slow"),
        ("def twice(x:\n", "not loaded: SyntaxError"),
        ("def thrice(x):\n    return x\n", "not loaded: ImportError"),
    ],
)
def test_a_test_is_run_again(code: str, came: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    test = "from mine import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
    said = run_test("mine", code, test)
    assert said.startswith(came)
    assert bool(said) == bool(came)
    assert not list(tmp_path.iterdir())


def test_a_module_of_the_name_of_one_of_the_library_is_the_one_that_is_meant() -> None:
    test = "from json import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
    assert run_test("json", "def twice(x):\n    return 2 * x\n", test) == ""


def test_what_it_prints_or_ends_is_no_answer() -> None:
    test = "from mine import loud\n\n\ndef test_loud():\n    assert loud()\n"
    assert (
        run_test("mine", "import os\n\ndef loud():\n    os.write(1, b'{}')\n    print('x' * 99999)\n", test)
        == "AssertionError"
    )
    with pytest.raises(SandboxFailure, match="ended the interpreter"):
        run_test("mine", "import os\n\ndef loud():\n    os._exit(0)\n", test)
    with pytest.raises(InputError, match="is no name of a module"):
        run_test("a b; rm", "x = 1\n", test)
