"""Bugs of real histories: what two releases differ in, proved by the newer release's tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_package import SOURCE, tiny_package

from custodes.cli import main
from custodes.critic import corpus
from custodes.critic.corpus import Function, extract
from custodes.critic.jobs.natural import ReleaseChange, _out_of_place, _proved, _release_changes, _repaired
from custodes.critic.sources import Package, _sources_of
from custodes.critic.workshop import Workshop

UNITS = {"total": "tiny/tests/test_small.py::test_total", "clip": "doctest::tiny.small::tiny.small.clip"}


def release(**older: str) -> Package:
    """The tiny package with pieces of its source as they were."""
    text = SOURCE
    for new, old in older.values():
        assert new in text
        text = text.replace(new, old)
    package = tiny_package()
    files = {**package.files, "tiny/small.py": text.encode()}
    return replace(package, version="0.9", files=files, sources=_sources_of(files))


def newer() -> list[Function]:
    found = []
    for f in extract(tiny_package()):
        unit = UNITS.get(f.qualname)
        found.append(replace(f, tests=(corpus.Test(unit, 0.01, (2,)),) if unit else ()))
    return found


OLD = release(
    bug=("        result += value", "        result = value"),
    harmless=("    if value > high:\n        return high", "    if high < value:\n        return high"),
    untested=("    first = values[0]", "    first = values[1]"),
)


def test_only_tested_functions_that_are_another_program_are_compared():
    found = {c.newer.qualname: c for c in _release_changes(newer(), OLD)}
    assert set(found) == {"total", "clip"}
    assert found["total"].bug.lines == (4,)
    assert found["total"].bug.description == "`result = value` is wrong here: release 1 has `result += value` instead."
    assert _release_changes(newer(), tiny_package()) == []


def test_a_repair_of_many_lines_is_none_and_an_addition_stands_beside_its_gap():
    assert _repaired("a\nb\nc\nd", "a\nB\nC\nD", "2", 2) is None
    added = _repaired("def f(x):\n    y = 1\n    return y", "def f(x):\n    y = 1\n    y += x\n    return y", "2", 2)
    assert added is not None
    assert added.lines == (2, 3)
    assert "is missing here: release 2 has `y += x`" in added.description
    dropped = _repaired("a\nb\nc", "a\nc", "2", 2)
    assert dropped is not None
    assert dropped.lines == (2,)
    assert "should not be here" in dropped.description


def test_a_bug_is_one_that_a_test_of_the_newer_release_notices(sandboxes: None):
    with Workshop(tiny_package()) as workshop:
        rows = _proved(workshop, _release_changes(newer(), OLD))
    bug, clean = rows
    assert (bug.qualname, bug.split, bug.verified, bug.unit) == ("total", "natural", "test", UNITS["total"])
    assert bug.message == "AssertionError"
    assert bug.code.split("\n")[bug.bug_lines[0] - 1] == "        result = value"
    assert (clean.qualname, clean.verified, clean.bug_lines) == ("total", "clean", ())
    assert "result += value" in clean.code


@pytest.mark.parametrize(
    ("older", "message", "out"),
    [
        ("def up(self, by=1):\n    return _add(self.count, by)", "NameError: name '_add' is not defined", True),
        ("def up(self, by=1):\n    return self.n", "AttributeError: 'Counter' object has no attribute 'n'", True),
        ("def up(self, by=1):\n    return by.real()", "AttributeError: 'int' object has no attribute 'x'", False),
        ("def up(self, by=1):\n    return unicode(by)", "AssertionError", True),
        ("def up(self, by=1):\n    return by", "UnboundLocalError: cannot access local variable 'n'", False),
    ],
)
def test_what_fails_for_its_surroundings_is_no_bug(older: str, message: str, out: bool):
    (f,) = [f for f in newer() if f.qualname == "Counter.up"]
    bug = _repaired(older, f.code, "1", 9)
    assert bug is not None
    assert _out_of_place(ReleaseChange(f, older, bug), message) == out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--releases", "toolz"), "write PACKAGE==VERSION"),
        (("--releases", "flask==1.0"), "of the packages algorithms"),
        (("--lines", "0"), "lines is 0"),
        (("--releases", "toolz==0.11.0"), "holds no function of toolz with a test"),
    ],
)
def test_bad_input_is_one_sentence(
    options: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "corpus.jsonl").write_text("")
    command = ["critic", "natural", "--corpus", str(tmp_path / "corpus.jsonl"), "--out", str(tmp_path / "n.jsonl")]
    assert main([*command, *options]) == 2
    assert sentence in capsys.readouterr().err
