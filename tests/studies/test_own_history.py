"""The study of a project's own history, on a repository of three commits."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from bubblewrap import missing

STUDY = Path(__file__).parents[2] / "studies" / "own_history.py"
WRONG = '"""Small things."""\n\n\ndef clip(value, high=3):\n    """The value, at most high.\n\n    >>> clip(7)\n    3\n    """\n    if value > high:\n        return value\n    return value\n'
RIGHT = WRONG.replace("        return value\n", "        return high\n", 1)


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_history", STUDY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A function, a sentence of its documentation, its mending, and another function."""
    top = tmp_path_factory.mktemp("repository")
    (top / "src" / "small").mkdir(parents=True)
    (top / "tests").mkdir()

    def commit(message: str, text: str, test: str = "") -> None:
        (top / "src" / "small" / "__init__.py").write_text(text)
        (top / "tests" / "test_small.py").write_text(test)
        clean = {"GIT_CONFIG_GLOBAL": "", "PATH": os.environ["PATH"], "HOME": str(top)}
        for words in (("add", "."), ("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", message)):
            subprocess.run(["git", "-C", str(top), *words], check=True, env=clean)

    subprocess.run(["git", "init", "-q", str(top)], check=True)
    commit("Begin, and nothing more", WRONG)
    commit("The documentation was wrong", WRONG.replace("Small", "Tiny"), "# told\n")
    commit("A value above the limit is no longer kept", RIGHT.replace("Small", "Tiny"), "# a test\n")
    commit("A number that was missing", RIGHT.replace("Small", "Tiny") + "\n\ndef one():\n    return 1\n", "# two\n")
    return top


def test_commits_that_mend_a_function_are_taken(study: ModuleType, repository: Path) -> None:
    (found,) = study.mending(repository, "src", 20, 50)
    assert found[1] == "A value above the limit is no longer kept"
    (changed,) = found[2]
    assert (changed.file, changed.name, changed.mended) == ("src/small/__init__.py", "clip", frozenset({11}))


def test_a_line_that_is_only_added_stands_between_two(study: ModuleType) -> None:
    assert study.mended_lines("a\nb\nc", "a\nb\nx\nc") == {2, 3}
    assert study.mended_lines("a\nb\nc", "a\nc") == {2}
    assert study.mended_lines("a", "a") == set()


def test_what_is_caught_is_gone_after_the_mending(
    study: ModuleType, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := missing():
        pytest.skip(reason)
    words = [str(STUDY), "--repository", str(repository), "--out", str(tmp_path), "--seconds", "0.5"]
    monkeypatch.setattr(sys, "argv", words)
    for _ in range(2):  # the second time from what is kept
        study.main()
    told = json.loads((tmp_path / "own_history.json").read_text())
    assert (told["commits"], told["functions"]) == (1, 1)
    assert told["functions run"]["estimate"] == 1
    assert told["commits caught in a changed function"]["estimate"] == 1
    assert told["functions run with a finding that stays or is new"]["estimate"] == 0
    assert told["commits caught in a changed function"]["low"] < 0.3
    (row,) = (json.loads(file.read_text()) for file in (tmp_path / "commits").iterdir())
    assert row["functions"][0]["gone"][0].startswith("failing example: clip(7) gives 7")
