"""Completion in real shells: bash at the TAB key, zsh and fish by the functions that their TAB key calls."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from debian import Unavailable, install

from custodes.cli import main
from custodes.cli.completion import completion


def with_shell(name: str) -> str:
    if not shutil.which(name):
        try:
            install(name, name)
        except Unavailable as why:
            pytest.skip(str(why))
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish"):
        (folder / shell).write_text(completion(shell))
    return {shell: folder / shell for shell in ("bash", "zsh", "fish")}


ASKED = [
    ("custodes gam", {"gaming"}, {"quickstart"}),
    ("custodes ", {"quickstart", "verify", "policy", "critic"}, {"compare", "sample"}),
    ("custodes feedback ", {"labels", "judge", "annotators"}, {"quickstart", "gaming"}),
    ("custodes feedback labels --ag", {"--aggregator"}, {"--out", "labels"}),
    ("custodes feedback labels --judgments file.csv --aggregator da", {"dawid-skene"}, {"majority"}),
    ("custodes feedback labels --aggregator ", {"majority", "mace"}, {"--aggregator"}),
    ("custodes reward train --j", {"--judgments", "--json"}, {"--out"}),
    ("custodes gaming run --no-re", {"--no-read-only"}, {"--read-only"}),
]
"""What is typed, what is offered among others, and what is not."""


@pytest.mark.parametrize(("typed", "offered", "not_offered"), ASKED)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_offers_commands_options_and_choices(
    shell: str, typed: str, offered: set[str], not_offered: set[str], scripts: dict[str, Path], tmp_path: Path
):
    program, script = with_shell(shell), scripts[shell]
    words = typed.split(" ")
    if shell == "fish":
        code = f"source {script}; complete -C '{typed}'"
    else:
        begin = "emulate sh; autoload -U +X bashcompinit; bashcompinit; compinit() {:;}; " if shell == "zsh" else ""
        listed = " ".join(f"'{word}'" for word in words)
        text = script.read_text().replace("autoload -U +X compinit bashcompinit && compinit && bashcompinit\n", "")
        script = tmp_path / "script"
        script.write_text(text.replace("complete -o default", ": complete -o default"))
        code = f"{begin}. {script}; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _custodes; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    found = {line.split("\t")[0] for line in done.stdout.splitlines()}
    if shell == "zsh":  # whose own completion keeps what begins as typed
        found = {word for word in found if word.startswith(words[-1])}
    assert offered <= found, done.stderr
    assert not not_offered & found


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_files_are_offered_where_a_command_reads_them(shell: str, scripts: dict[str, Path], tmp_path: Path):
    (tmp_path / "judgments.jsonl").write_text("")
    if shell == "bash":
        assert at_the_tab_key(scripts["bash"], "custodes feedback annotators --judgments judg", tmp_path).endswith(
            "judgments.jsonl"
        )
        return
    code = f"source {scripts['fish']}; complete -C 'custodes feedback annotators --judgments judg'"
    done = subprocess.run([with_shell("fish"), "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout.split()[:1] == ["judgments.jsonl"]


def test_the_tab_key_of_bash_writes_the_rest(scripts: dict[str, Path], tmp_path: Path):
    assert at_the_tab_key(scripts["bash"], "custodes feedback ann", tmp_path).endswith("custodes feedback annotators")
    assert at_the_tab_key(scripts["bash"], "custodes verify --public", tmp_path).endswith("--public-key")


def at_the_tab_key(script: Path, typed: str, folder: Path) -> str:
    """The line that an interactive bash shows after TAB."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(folder)
        os.execve(
            shutil.which("bash") or "",
            ["bash", "--norc", "--noprofile", "-i"],
            {"PATH": os.environ["PATH"], "PS1": "> ", "TERM": "dumb"},
        )
    try:
        os.write(terminal, f". {script}; echo be''gin\n".encode())
        assert "begin" in read_until(terminal, "begin\r\n")
        os.write(terminal, f"{typed}\t".encode())
        shown = read_until(terminal, None)
        return shown.splitlines()[-1].rstrip().removeprefix("> ")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def read_until(terminal: int, end: str | None) -> str:
    """What the terminal shows until ``end`` (None: until it has been still for a second), at most a minute."""
    shown, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 1.0)
        if ready:
            shown += os.read(terminal, 4096).decode()
        elif end is None and shown:
            break
        if end is not None and end in shown:
            break
    return shown


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["--completion", "csh"]) == 2
    assert "--completion takes bash, zsh or fish, not 'csh'." in capsys.readouterr().err
