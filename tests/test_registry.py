"""Plug-ins by name: built-in files, entry points, files of one's own; and the one sentence where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from custodes import registry
from custodes.errors import InputError
from custodes.registry import Registry, nearest, run_file

FILE = """
from custodes.registry import reward

@reward
def length(completions, **columns):
    return [float(len(c)) for c in completions]

helper = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def test_a_file_of_ones_own_is_named_by_its_path_and_needs_no_name_where_it_decorates_one_thing(file: Path) -> None:
    found = registry.reward.find(f"{file}:length")
    assert found(["abc"]) == [3.0]
    assert registry.reward.find(str(file)) is found  # the file is run once
    assert registry.reward.find(f"py:{file}:length") is found
    assert "length" not in registry.reward.names()


def test_a_file_that_changed_is_run_again(file: Path) -> None:
    before = registry.reward.find(f"{file}:length")
    file.write_text(FILE.replace("len(c)", "2 * len(c)"))
    assert registry.reward.find(f"{file}:length")(["abc"]) == [6.0]
    assert before(["abc"]) == [3.0]


@pytest.mark.parametrize(
    ("text", "spec", "sentence"),
    [
        (FILE, "mine.py:lenght", r"reward mine.py has no 'lenght'; write mine.py:length\.$"),
        (FILE + "reward(lambda: 1)", "mine.py", r"say which one; write mine.py:length or mine.py:<lambda>\.$"),
        ("x = 1", "mine.py", r"say which one; write mine.py:Name\.$"),
        ("x = 1\n\ny = nothing\n", "mine.py:y", r"reward mine.py, line 3: NameError: name 'nothing' is not defined\.$"),
        ("x = 1\ny = = 2\n", "mine.py:y", r"reward mine.py, line 2: SyntaxError: invalid syntax\.$"),
        ("x = 1", "other.py:x", r"reward other.py cannot be read \(No such file or directory\)\.$"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_with_its_line(
    text: str, spec: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(text)
    with pytest.raises(InputError, match=sentence) as refused:
        registry.reward.find(spec)
    assert "\n" not in str(refused.value)


def test_what_a_decorator_made_known_is_found_however_it_is_spelled() -> None:
    family: Registry[type] = Registry("thing")

    @family
    class Mine_Own:  # noqa: N801
        pass

    assert family.find("mine-own") is family.find("Mine_Own") is Mine_Own
    assert family.names() == ["mine_own"]
    with pytest.raises(InputError, match=r"there is no thing 'mineown'; did you mean 'mine_own'\? There are mine_own;"):
        family.find("mineown")


def test_an_installed_package_offers_its_own(tmp_path: Path) -> None:
    """In a process of its own: a package with an entry point lies on the path, as pip would put it."""
    (tmp_path / "gifts.py").write_text("def kind(completions, **columns):\n    return [1.0] * len(completions)\n")
    info = tmp_path / "gifts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gifts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custodes.reward]\nkindness = gifts:kind\nbroken = gifts:none\n")
    program = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from custodes.registry import reward
from custodes.errors import InputError
assert "kindness" in reward.names() and "gifts" not in sys.modules
assert reward.find("kindness")(["a", "b"]) == [1.0, 1.0]
try:
    reward.find("broken")
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert (
        done.stdout
        == "reward broken, of an installed package: AttributeError: module 'gifts' has no attribute 'none'.\n"
    )


def test_the_nearest_name_is_the_one_that_is_spelled_most_alike() -> None:
    assert nearest("gpro", ["ppo", "grpo"]) == "grpo"


def test_dataclasses_of_a_file_know_their_module(tmp_path: Path) -> None:
    path = tmp_path / "options.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n@dataclass\nclass Options:\n    low: float = 1.0\n"
    )
    assert run_file(path, "file").Options().low == 1.0
