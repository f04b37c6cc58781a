"""A kind of judgment in two files: asked by a project, handed in over the API, kept, read back, exported and imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import own_kind
import pytest
from web_server import PROJECT, Server

from custodes import registry, types
from custodes.feedback.items import gold_result, items_from_rows
from custodes.feedback.platform import read_platform
from custodes.feedback.project import parse_project
from custodes.feedback.reading import read_feedback
from custodes.types import InputError
from custodes.web.export import export_project, read_project
from custodes.web.projects import create_project

ASKED = PROJECT[: PROJECT.index("questions:")] + (
    "questions:\n  - {kind: chance, that: the answer is right}\n  - {kind: comparison, optional: true}\n"
    "assignment: {overlap: 1, gold_share: 0.0, repeat_share: 0.0}\n"
)
NEW = "import sys; from custodes.ledger import Ledger; ledger = Ledger.open(sys.argv[1], read_only=True)"
READ = f"{NEW}; print([j for run in ledger.runs() for j in ledger.judgments(run.id)])"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(own_kind.install(folder))
    registry._entry_points.cache_clear()
    yield folder
    registry._entry_points.cache_clear()
    types.JUDGMENTS.pop("chance", None)
    for family in (registry.kind, registry.widget):
        family._found.pop("chance", None)
    for module in ("chance", "chance_widget"):
        sys.modules.pop(module, None)


def hand_in(server: Server, answers: list[dict[str, object]]) -> tuple[int, str]:
    person = server.person(f"p{len(server.database.accounts.all())}")
    item = person.call("POST", "/projects/helpfulness/next").json()["item"]
    assert item["questions"][0]["that"] == "the answer is right"
    said = person.call("POST", f"/assignments/{item['assignment']}/judgments", {"answers": answers, "seconds": 3.0})
    if said.status_code != 201:
        person.call("POST", f"/assignments/{item['assignment']}/skip", {})
    return said.status_code, said.text


def test_a_kind_in_two_files_goes_the_whole_way(server: Server, installed: Path, tmp_path: Path):
    project = parse_project(ASKED)
    row = {"prompt": "2 + 2?", "answers": ["It is 4.", "It is 5."]}
    (item,) = items_from_rows(project, [row])
    create_project(server.database, ASKED, [item], "test")
    half = [{"question": 1, "place": 0, "percent": 75}]
    for wrong, says in (
        (half, "question 1 has no answer for place 1"),
        ([{"question": 1, "place": 0, "percent": 101}], "101 %; give 0 to 100"),
        ([{"question": 1, "place": 0, "percent": "75"}], "field 'percent': it should be a valid integer"),
        ([{"question": 1, "place": 0, "percent": 75, "why": "so"}], "there is no field 'why'; a chance takes percent"),
    ):
        status, said = hand_in(server, wrong)
        assert status == 422
        assert says in said
    assert hand_in(server, [*half, {"question": 1, "place": 1, "percent": 5}])[0] == 201
    content = read_project(server.database, "helpfulness")
    gold = replace(item, gold={"ratings": {"chance": [60, 100]}})
    assert [(j.kind, j.percent, gold_result(gold, j)) for j in content.judgments] == [  # type: ignore[attr-defined]
        ("chance", 75, True),
        ("chance", 5, False),
    ]
    (written,) = export_project(server.database, "helpfulness", tmp_path / "trl")
    assert read_feedback(written).feedback.judgments == content.judgments
    for form in ("argilla", "label-studio"):
        (written,) = export_project(server.database, "helpfulness", tmp_path / form, form)
        assert read_platform(written, form).judgments == content.judgments
    assert server.database.ledger.verify().ok


def test_who_reads_it_needs_the_package_and_who_verifies_does_not(server: Server, installed: Path, tmp_path: Path):
    create_project(
        server.database, ASKED, items_from_rows(parse_project(ASKED), [{"prompt": "?", "answers": ["a", "b"]}]), "t"
    )
    assert hand_in(server, [{"question": 1, "place": place, "percent": 50} for place in (0, 1)])[0] == 201
    ledger, bare = str(tmp_path / "custodes.db"), os.environ.get("PYTHONPATH", "")

    def run(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
        )

    assert run(f"{installed}{os.pathsep}{bare}", "-c", READ, ledger).stdout.count("Chance(") == 2
    without = run(bare, "-c", READ, ledger)
    assert "InputError: there is no kind of judgment 'chance'; did you mean " in without.stderr
    verified = run(bare, "-m", "custodes", "verify", ledger)
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("{kind: chance}", "field 'questions.1': a chance needs the field 'that'"),
        ("{kind: chance, that: x, values: []}", "field 'questions.1.values': there is no such field"),
        ("{kind: chanse, that: x}", "field 'questions.1.kind': there is no kind 'chanse'; did you mean 'chance'"),
        ("{kind: chance.py, that: x}", "field 'questions.1.kind': there is no kind 'chance.py'"),
    ],
)
def test_a_question_that_does_not_fit_is_told_by_line(installed: Path, question: str, says: str):
    with pytest.raises(InputError) as told:
        parse_project(
            f"name: p\ntitle: P\ntasks: ''\nguidelines: {{version: '1', text: x}}\nquestions:\n  - {question}\n",
            "p.yaml",
        )
    assert f"p.yaml, line 6, {says}" in str(told.value)
