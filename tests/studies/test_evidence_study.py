"""The studies of evidence count what is caught and what is not so, and go on where they were."""

from __future__ import annotations

import json
import math
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

STUDIES = Path(__file__).parents[2] / "studies"
RIGHT = 'def add(a, b):\n    """add(1, 2) -> 3"""\n    return a + b\n'
BAD = 'def half(n):\n    """\n    >>> half(4)\n    2\n    >>> half(4)\n    3\n    """\n    return n // 2\n'


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(STUDIES))

    def load(name: str) -> ModuleType:
        sys.modules.pop(name, None)
        return import_module(name)

    return load


def test_pairs_are_measured_once_and_a_wrong_example_is_no_alarm(
    study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for side, text in {"buggy": RIGHT.replace("a + b", "a - b"), "fixed": RIGHT}.items():
        (tmp_path / side).mkdir()
        (tmp_path / side / "add.py").write_text(text)
        (tmp_path / side / "half.py").write_text(BAD)
    words = [
        "--buggy",
        str(tmp_path / "buggy"),
        "--fixed",
        str(tmp_path / "fixed"),
        "--out",
        str(tmp_path / "out"),
        "--inputs",
        "5",
    ]
    study("evidence").main(words)
    result = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (result["caught"]["count"], result["caught"]["of"], result["false_alarms"]["count"]) == (1, 2, 0)
    assert result["wrong_examples"] == 1
    assert result["caught"]["low"] < 0.5 < result["caught"]["high"]
    assert [(r["kind"], r["count"], r["of"]) for r in result["calibration"]] == [("failing example", 1, 1)]
    rows = (tmp_path / "out" / "rows.jsonl").read_text()
    study("evidence").main(words)
    assert (tmp_path / "out" / "rows.jsonl").read_text() == rows
    assert "caught 1 of 2" in capsys.readouterr().out


def test_folders_without_a_common_name_are_refused(study, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        study("evidence").main(["--buggy", str(tmp_path), "--fixed", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "no .py files of the same name" in capsys.readouterr().err


def test_a_library_leaves_nothing_behind_and_what_is_found_fails_again(
    study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "tiny_shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sums.py").write_text(RIGHT.replace("a + b", "a - b"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TMPDIR", "")
    monkeypatch.setattr("tempfile.tempdir", None)
    study("evidence_library").main(
        ["--out", str(tmp_path / "out"), "--packages", "tiny_shop", "--functions", "5", "--inputs", "5"]
    )
    result = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (result["functions"], result["run"], result["findings"], result["reproduced"], result["left"]) == (
        1,
        1,
        1,
        1,
        [],
    )


def test_bugs_are_put_into_documented_functions(study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "tiny_bank"
    package.mkdir()
    (package / "__init__.py").write_text("")
    code = 'def rise(n, by):\n    """rise(1, 2) -> 3, rise(2, 5) -> 7"""\n    total = n + by\n    return total\n'
    (package / "sums.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    study("evidence_bugs").main(
        ["--out", str(tmp_path / "out"), "--packages", "tiny_bank", "--documented=->", "--inputs", "5"]
    )
    row = json.loads((tmp_path / "out" / "rows.jsonl").read_text())
    assert row["fixed"] == []
    assert row["fixed_ran"]


def test_help_rates_down_what_is_wrong_and_not_what_is_right(study, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Findings in every function with a bug and in none without: with help nearly all that is wrong is rated down."""
    finding = [["failing example", 0.95, "example", "It fails."]]
    rows = [{"name": f"f{n}", "buggy": finding, "fixed": []} for n in range(60)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    study("down_rating").main(["--rows", str(file), "--out", str(tmp_path / "out")])
    told = json.loads((tmp_path / "out" / "down_rating.json").read_text())
    assert json.loads(capsys.readouterr().out) == told
    usual = told["by default"]
    bugs, alone, helped = (usual[key] for key in ("with a bug", "rated down", "rated down"))
    expected_alone = 1 - (1 - 0.25 * bugs["estimate"]) * math.exp(-0.1)
    assert abs(alone["alone"]["estimate"] - expected_alone) < 0.05
    assert helped["helped"]["estimate"] > alone["alone"]["estimate"] + 0.1
    assert usual["more with help"]["low"] > 0
    assert usual["rightly"]["helped"]["estimate"] > usual["rightly"]["alone"]["estimate"]
    assert told["looks no longer"]["rightly"]["helped"]["estimate"] == 1.0
