"""A kind of somebody's own on the work screen, by its own widget."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import own_kind
import pytest
from playwright.sync_api import Browser, expect
from site_under_test import Site

SHOW = """
import sys
from custodes.ledger import Ledger
ledger = Ledger.open(sys.argv[1], read_only=True)
print(*[f"{j.kind} {j.percent}" for run in ledger.runs() for j in ledger.judgments(run.id)], sep=", ")
"""
OPEN = """
import sys
from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.web.database import ServerDatabase
from custodes.web.projects import create_project
text = "name: p\\ntitle: P\\ntasks: ''\\nguidelines: {version: '1', text: x}\\nmembers: everybody\\nquestions: [{kind: chance, that: it is right}]"
rows = [{"prompt": "2 + 2?", "answers": ["It is 4."]}]
create_project(ServerDatabase(sys.argv[1]), text, items_from_rows(parse_project(text), rows), "test")
"""


@pytest.fixture
def own_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server beside which the package of the how-to is installed."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{own_kind.install(folder)}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    made = Site(tmp_path)
    made.start()
    yield made
    made.close()


def in_a_new_process(program: str, site: Site) -> str:
    command = [sys.executable, "-c", program, str(site.file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_its_widget_is_drawn_and_what_is_chosen_is_in_the_ledger(own_site: Site, browser: Browser):
    in_a_new_process(OPEN, own_site)
    page = own_site.visitor(browser)
    own_site.open(page, "p")
    expect(page.get_by_role("group", name="How probable is it that it is right?")).to_be_visible()
    page.get_by_role("radio", name="75 %").check()
    page.locator("[data-hand-in]").click()
    expect(page.locator("#said")).to_have_text("Handed in.")
    assert in_a_new_process(SHOW, own_site).strip() == "chance 75"
