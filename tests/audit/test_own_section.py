"""A section of one's own: the how-to's file, shown in a report; and what is wrong with one in one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from custodes.audit import audit_run, write_report
from custodes.cli import main
from custodes.ledger import Ledger
from custodes.types import InputError

PAGE = Path(__file__).parents[2] / "docs/how-to/add-a-section.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    code = re.search(r"```python\n(# refusals\.py\n.*?)```", PAGE.read_text(), flags=re.S)
    assert code is not None
    (tmp_path / "refusals.py").write_text(code[1])
    return tmp_path / "refusals.py"


def broken(file: Path, old: str, new: str) -> str:
    """A copy in which something is wrong."""
    text = file.read_text()
    assert old in text
    copy = file.with_name("broken.py")
    copy.write_text(text.replace(old, new))
    return str(copy)


def test_it_stands_on_the_page_and_in_the_json(recorded_run: tuple[Ledger, str], file: Path, tmp_path: Path) -> None:
    ledger, run = recorded_run
    out = tmp_path / "out"
    command = ["audit", "report", ledger.name, "--run", run, "--out", str(out), "--section", f"{file}:Refusals"]
    assert main([*command, "--ledger", "none"]) == 0
    page, data = (out / "report.html").read_text(), json.loads((out / "report.json").read_text())
    assert '<h2 id="s-refusals">Refusals</h2>' in page
    assert "The policy declines 0\u00a0% of the tasks." in data["claims"]
    assert data["refusals"]["careful"]["base"]["n"] == 192
    assert not any("held-out tasks, careful arm" in what for what in data["missing"])
    usual = audit_run(ledger, run).to_json()
    assert all(data[name] == usual[name] for name in ("optimisation", "judges", "gaming", "diversity", "arms"))


def test_what_it_misses_is_not_recorded(empty_run: tuple[Ledger, str], file: Path, tmp_path: Path) -> None:
    page, _ = write_report(*empty_run, tmp_path / "out", [str(file)])
    assert "answers to held-out tasks, any arm" in page.read_text()


def test_a_section_that_fails_is_one_sentence_with_its_line(
    recorded_run: tuple[Ledger, str], file: Path, tmp_path: Path
) -> None:
    def sentence(old: str, new: str) -> str:
        with pytest.raises(InputError) as refused:
            write_report(*recorded_run, tmp_path / "out", [broken(file, old, new)])
        assert not (tmp_path / "out").exists()
        return str(refused.value)

    line = file.read_text().split("\n").index("        rows = self.source.heldout.get(arm)") + 1
    assert f"broken.py, line {line}: AttributeError" in sentence(
        "self.source.heldout.get(arm)", "self.source.held(arm)"
    )
    assert "ZeroDivisionError" in sentence("        return [f", "        return [1 / 0, f")
    assert "template of the section 'refusals' fails" in sentence("f.base", "f.bese")
    assert "template of the section 'refusals' fails" in sentence("{% else %}", "{% otherwise %}")
    assert "already" in sentence("class Refusals", "class Judges")
    assert "RunSection" in sentence("class Refusals(ArmSection)", "class Refusals")
    with pytest.raises(InputError, match=r"nothing\.py"):
        write_report(*recorded_run, tmp_path / "out", ["nothing.py"])
