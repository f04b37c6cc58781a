"""The documentation speaks of commands, options and names that exist, and claims nothing that the code does not have."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import pydoc
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import bubblewrap
import docs_world
import pytest
import tyro
import yaml

from custodes.cli import commands, main
from custodes.cli.call import call
from custodes.cli.options import options_in
from custodes.cli.table import find

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
GROUPS = sorted({name.split()[0] for name in commands() if " " in name})
CHOSEN = re.compile(r"(--algorithm|--method|--attack|--defence|--stages?) ([a-z][\w.:,-]*)")
COMMAND = re.compile(rf"\bcustodes ((?:(?:{'|'.join(GROUPS)}) )?[a-z]+)([^\n|]*)")


def code(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of every piece of code on the page."""
    text = page.read_text()
    yield from FENCED.findall(text)
    yield from (("", inline) for inline in INLINE.findall(FENCED.sub("", text)))


def python_of(page: Path) -> list[str]:
    return [text for language, text in code(page) if language == "python"]


@cache
def options_of(command: str, *chosen: str) -> set[str]:
    """The options of a command, and those of the plug-ins that are chosen."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*command.split(), *chosen, "--help"])
    return {"--help", "--config", "--ledger", "--head-file", *re.findall(r"--[\w-]+", printed.getvalue())}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_named(page, tmp_path)
    for language, text in code(page):
        for command, rest in [] if language == "python" else COMMAND.findall(text.replace("\\\n", " ")):
            assert command in commands() or command in GROUPS, f"custodes {command}"
            pairs = [p for p in CHOSEN.findall(rest) if all(Path(f).exists() for f in re.findall(r"\w+\.py", p[1]))]
            chosen = [word for pair in pairs for word in pair]
            unknown = set(re.findall(r"--[\w-]+", rest)) - options_of(command, *chosen)
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
    assert all(f"custodes {name}" in reference for name in commands())


# ---------------------------------------------------------------- every block of code, run or parsed

BLOCK = re.compile(r"(?:<!-- not run: ([^\n]*) -->\n)?^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""(why the block is not run, or "", its language, its text). A block without a language is shell; ``text`` is no code."""
RECORDER = """
custodes() { printf '%s\\0' "$@" >> "$CALLS"; printf '\\n' >> "$CALLS"; }
python() { if [ "$1" = - ]; then local program; IFS= read -r -d '' program || true; printf '%s\\0' "$program" >> "$PROGRAMS"; fi; }
command_not_found_handle() { :; }
set -eu
"""
"""Bash in which a command of ours is written down and any other does nothing: loops and variables are bash's own."""


class ParsedError(Exception):
    """A command's options were right; now it would begin."""


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """(why not run, text) of the page's blocks in these languages."""
    return [(why, text) for why, language, text in BLOCK.findall(page.read_text()) if language in languages]


def pages_with(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, *languages)]


def of_page(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=[str(p.relative_to(ROOT)) for p in pages])


@of_page(PAGES)
def test_every_block_is_of_a_language_that_is_tested(page: Path):
    languages = {language for _, language, _ in BLOCK.findall(page.read_text())}
    assert languages <= {"", "sh", "text", "python", "yaml", "json", "sql", "lua"}
    if "lua" in languages:
        assert all(why for why, _ in blocks(page, "lua"))


@of_page(pages_with("", "sh"))
def test_shell_is_bash_and_our_commands_take_its_options(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tyro.cli", parsed_only(tyro.cli))
    monkeypatch.chdir(tmp_path)
    calls, programs = tmp_path / "calls", tmp_path / "programs"
    (tmp_path / "people-reward").mkdir()  # a folder that an option names is looked for at once
    write_named(page, tmp_path)
    for _, text in blocks(page, "", "sh"):
        calls.write_text("")
        programs.write_text("")
        subprocess.run(
            [shutil.which("bash") or "bash", "-c", RECORDER + text.replace(".venv/bin/", "")],
            env={"PATH": "/nonexistent", "CALLS": str(calls), "PROGRAMS": str(programs), "TOKEN": "t"},
            check=True,
            capture_output=True,
            timeout=30,
        )
        for program in programs.read_text().split("\0")[:-1]:
            ast.parse(program)
        recorded = calls.read_text().split("\0\n")[:-1]
        assert len(recorded) >= len(re.findall(r"^custodes ", text, re.MULTILINE))
        for words in (line.split("\0") for line in recorded):
            with pytest.raises(SystemExit if "--help" in words else ParsedError):
                call(*find(words))


def write_named(page: Path, folder: Path) -> None:
    """The page's files: blocks that begin with a comment that names one."""
    for _, text in blocks(page, "yaml", "python"):
        if named := re.match(r"# (\S+\.(?:yaml|py))\n", text):
            (folder / named[1]).write_text(text)


def parsed_only(parse: Callable[..., object]) -> Callable[..., object]:
    def then_stop(*given: object, **options: object) -> object:
        parse(*given, **options)
        raise ParsedError

    return then_stop


@of_page(pages_with("python"))
def test_python_runs_or_the_page_says_why_not(
    page: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] | None = None
    if page.stem == "sandbox" and (reason := bubblewrap.missing()):
        pytest.skip(reason)
    write_named(page, tmp_path)
    if page.stem in ("reading-the-report", "add-a-section"):
        docs_world.record_a_demo(tmp_path)
    for why, text in blocks(page, "python"):
        if named := re.match(r"# (\w+\.py)\n", text):  # a file that the page's commands name
            (tmp_path / named[1]).write_text(text)
        program = compile(text, str(page), "exec", dont_inherit=True)
        if not why:
            known = known or docs_world.names(page.stem, tmp_path, tiny_model, monkeypatch)
            exec(program, known)


@of_page(pages_with("yaml", "json"))
def test_yaml_and_json_are_what_they_say(page: Path):
    for _, text in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(text), dict | list)
    for _, text in blocks(page, "json"):
        assert [json.loads(line) for line in text.splitlines()]


@of_page(sorted((ROOT / "docs/reference").glob("*.md")))
def test_the_reference_names_what_is_there(page: Path):
    for module, options in re.findall(r"^::: (\S+)\n((?: +[^\n]*\n)*)", page.read_text() + "\n", re.MULTILINE):
        found = pydoc.locate(module)
        assert found is not None, module
        chosen = (yaml.safe_load(options) or {}).get("options", {}).get("members") or []
        missing = [name for name in chosen if not hasattr(found, name)] if isinstance(chosen, list) else []
        assert not missing, f"{module} has no {missing}"


def test_what_is_held_out_and_measured_has_one_name_and_one_type(monkeypatch: pytest.MonkeyPatch):
    kinds: list[type] = []

    def noted(kind: type, **options: object) -> None:
        kinds.append(kind)
        raise ParsedError

    monkeypatch.setattr("tyro.cli", noted)
    for command in commands():
        with contextlib.suppress(ParsedError):
            call(*find(command.split()))
    types: dict[str, set[str]] = {}
    for kind in kinds:
        for option in options_in(kind):
            types.setdefault(option.name, set()).add(str(option.type))
    assert len(kinds) == len(commands())
    assert types["rows"] == {"<class 'str'>"}
    assert types["held_out"] == {"<class 'float'>"}
    assert types["measure_on"] == {"<class 'int'>"}
    assert not [name for name in types if re.search("heldout|held_out_", name)]
