"""The critic that comes along, on functions written for this test: no training has seen them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.critic.kept_apart import MANIFEST, KeptApart, is_kept_apart
from custodes.critic.lines import LineScorer, shipped_critic

BUGS = {  # code, and the line that is wrong
    'def mean(values):\n    """Return the arithmetic mean."""\n    total = 0\n    for value in values:\n        total -= value\n    return total / len(values)\n': 5,
    'def is_even(number):\n    """Whether a number is even."""\n    return number % 2 != 0\n': 3,
    'def read_lines(path):\n    """Lines of a file without their ends."""\n    with open(path) as file:\n        lines = file.readlines()\n    lines.rstrip()\n    return [line.rstrip() for line in lines]\n': 5,
    "def count_words(text):\n    counts = {}\n    for word in text.split():\n        counts[text] = counts.get(word, 0) + 1\n    return counts\n": 4,
    'def clamp(value, low, high):\n    """Move value into the range from low to high."""\n    if value < low:\n        return low\n    if value > high:\n        return low\n    return value\n': 6,
    'def find(items, wanted):\n    """Index of the first item that is wanted, or -1."""\n    for index, item in enumerate(items):\n        if item != wanted:\n            return index\n    return -1\n': 4,
    "def pop_all(queue):\n    found = []\n    while not queue:\n        found.append(queue.pop())\n    return found\n": 3,
    'def area(width, height):\n    """Area of a rectangle."""\n    if width < 0 or height < 0:\n        raise ValueError("sides must not be negative")\n    return width + height\n': 5,
}


def test_it_is_small_and_says_how_it_was_made():
    folder = shipped_critic()
    assert folder is not None
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12e6
    card = (folder / "README.md").read_text()
    about = json.loads((folder / "lines.json").read_text())
    assert "custodes critic train" in card
    assert all(about["kinds"].values())
    assert 0 < about["threshold"] < 1


def test_nothing_taught_it_that_critics_are_measured_on():
    folder = shipped_critic()
    assert folder is not None
    manifest = json.loads((folder / MANIFEST).read_text())
    assert len(manifest["bodies"]) > 5000
    assert not KeptApart.known().bodies & set(manifest["bodies"])
    assert not any(map(is_kept_apart, manifest["packages"]))


@pytest.mark.slow
def test_it_names_the_line_that_is_wrong():
    folder = shipped_critic()
    assert folder is not None
    scores = LineScorer.load(folder).scores(list(BUGS))
    first = sum(int(s.order()[0]) == line for s, line in zip(scores, BUGS.values(), strict=True))
    among_three = sum(line in s.order()[:3] for s, line in zip(scores, BUGS.values(), strict=True))
    assert first >= 5  # of eight; of those held out it names 43 %, these are plainer
    assert among_three >= 7


@pytest.mark.slow
def test_it_argues_where_no_critic_is_named_and_arguments_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, line = next((code, line) for code, line in BUGS.items() if "item != wanted" in code)
    file = tmp_path / "find.py"
    file.write_text(code)
    assert main(["critique", str(file), "--no-evidence", "--no-cache", "--strictness", "2", "--format", "json"]) == 0
    likeliest = json.loads(capsys.readouterr().out)[0]
    assert (likeliest["line"], likeliest["quote"]) == (line, "        if item != wanted:")
    assert "opposite" in likeliest["message"]


@pytest.mark.slow
def test_it_is_measured_where_no_critic_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "rows.jsonl"
    rows = [{"id": str(i), "code": code, "bug_lines": [line]} for i, (code, line) in enumerate(BUGS.items())]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["critic", "evaluate", "--data", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["at_1"]["n"] == 8
    assert found["at_1"]["estimate"] >= 0.6
    assert main(["critic", "evaluate", "--data", str(file), "--critic", "shipped", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
