"""A review as tasks of a project, whose help is what was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.environments.pasted_test import run_test
from custodes.feedback.items import read_items
from custodes.feedback.project import load_project
from custodes.web.demo import FOLDER

SHOP = '''
def discounted(price: float, percent: float) -> float:
    """The price without so many per cent.

    >>> discounted(80.0, 25.0)
    60.0
    """
    return price - percent


def bare(thing):
    return thing.go()


class Till:
    def total(self, prices: list[float]) -> float:
        """The sum of prices.

        >>> Till().total([1.0, 2.0])
        3.0
        """
        return sum(prices)
'''


def test_every_function_is_a_task_and_what_was_found_is_its_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, tasks = tmp_path / "shop.py", tmp_path / "tasks.jsonl"
    code.write_text(SHOP)
    assert main(["critique", str(code), "--inputs", "5", "--tasks", str(tasks)]) == 0
    discounted, bare, total = map(json.loads, tasks.read_text().splitlines())
    assert "`discounted`" in discounted["prompt"]
    assert discounted["answers"][0].startswith("```python\ndef discounted(price")
    assert "**An example fails**" in discounted["assistance"]["text"]
    assert "promised  60.0" in discounted["assistance"]["text"]
    (test,) = discounted["assistance"]["tests"]
    assert run_test(test["module"], test["code"], test["test"]) == "AssertionError"
    assert bare["assistance"]["text"].startswith("It was not run: nothing says what thing is")
    assert "nothing that it promises broke" in total["assistance"]["text"]
    assert "`Till.total`" in total["prompt"]
    project = load_project(FOLDER / "rerating.yaml")
    items = read_items(project, tasks)
    assert [len(item.assistance.tests) for item in items if item.assistance] == [1, 0, 0]
    capsys.readouterr()
    assert main(["critique", "--answers", str(tasks), "--tasks", str(tmp_path / "more")]) == 2
    assert "--tasks is about functions in files" in capsys.readouterr().err


def test_a_test_that_needs_the_package_is_shown_and_not_offered_to_run(tmp_path: Path) -> None:
    """Alone, its module cannot be loaded."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text("RATE = 2\n")
    (package / "sums.py").write_text("from .rates import RATE\n" + SHOP.split("def bare")[0])
    tasks = tmp_path / "tasks.jsonl"
    assert main(["critique", str(package), "--inputs", "5", "--tasks", str(tasks)]) == 0
    (row,) = map(json.loads, tasks.read_text().splitlines())
    assert "**An example fails**" in row["assistance"]["text"]
    assert row["assistance"]["tests"] == []
