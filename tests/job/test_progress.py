from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from custodes.job import progress
from custodes.job.progress import Progress


def shown(terminal: bool) -> str:
    said = io.StringIO()
    console = Console(file=said, force_terminal=terminal, width=80)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Learning", total=4)
        for _ in range(4):
            bar.update(task, advance=1)
        bar.advance(task, 0)
    return said.getvalue()


def test_a_log_file_is_told_how_far_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    lines = shown(terminal=False).splitlines()
    assert [line.split(" 0:")[0].split(" -")[0] for line in lines if line] == [
        *(f"Learning {n}/4" for n in (1, 2, 3, 4)),
        "Learning 4/4",
    ]


def test_only_now_and_then_and_not_beside_the_bar(monkeypatch: pytest.MonkeyPatch):
    assert shown(terminal=False).strip() == ""
    plain = shown(terminal=True)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert shown(terminal=True).count("\n") == plain.count("\n")
