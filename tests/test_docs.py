"""The documentation speaks of commands, options and names that exist, and claims nothing that the code does not have."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from custodes.cli import COMMANDS, main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
GROUPS = sorted({name.split()[0] for name in COMMANDS if " " in name})
COMMAND = re.compile(rf"\bcustodes ((?:(?:{'|'.join(GROUPS)}) )?[a-z]+)([^\n|]*)")


def code(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of every piece of code on the page."""
    text = page.read_text()
    yield from FENCED.findall(text)
    yield from (("", inline) for inline in INLINE.findall(FENCED.sub("", text)))


def python_of(page: Path) -> list[str]:
    return [text for language, text in code(page) if language == "python"]


@cache
def options_of(command: str) -> set[str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    return {"--help", "--config", *re.findall(r"--[\w-]+", printed.getvalue())}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path):
    for language, text in code(page):
        for command, rest in [] if language == "python" else COMMAND.findall(text.replace("\\\n", " ")):
            assert command in COMMANDS or command in GROUPS, f"custodes {command}"
            unknown = set(re.findall(r"--[\w-]+", rest)) - options_of(command)
            assert not unknown, f"custodes {command}: {unknown}"


@pytest.mark.parametrize("page", [p for p in PAGES if python_of(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_names_that_python_examples_import_exist(page: Path):
    for text in python_of(page):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("custodes"):
                module = importlib.import_module(node.module or "")
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"{node.module} has no {missing}"


def test_every_command_is_in_the_reference():
    reference = (ROOT / "docs/reference/cli.md").read_text()
    assert all(f"custodes {name}" in reference for name in COMMANDS)
