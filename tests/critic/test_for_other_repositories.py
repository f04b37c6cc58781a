"""What other repositories use: the action for GitHub and the hook for pre-commit run the command as it is; a page of a folder."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from review_data import LineCritic

from custodes.cli import main

ROOT = Path(__file__).parents[2]
SUB = "def f(x):\n    return x - 1\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit; afterwards a line of one file changes."""
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("custodes.critic.loading.open_critic", lambda choice, strictness, answers: LineCritic())
    top = tmp_path / "checkout"
    (top / "pkg").mkdir(parents=True)
    (top / "pkg" / "old.py").write_text(SUB)
    (top / "pkg" / "changed.py").write_text(SUB)
    monkeypatch.chdir(top)
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "first")):
        subprocess.run(["git", *words], check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": ""})
    (top / "pkg" / "changed.py").write_text(SUB.replace("- 1", "- 1 - 1"))
    return top


@pytest.fixture
def review_step(checkout: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs the action's script with its inputs in place of GitHub; the words that custodes is given."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (step,) = (s for s in action["runs"]["steps"] if s.get("name") == "Review")
    given = {key: inputs["default"] for key, inputs in action["inputs"].items()}
    assert set(step["env"]) == {"PATHS", "DIFF", "BASE", "FAIL_ON", "ARGUMENTS", "SARIF"}
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "custodes"
    shim.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    shim.chmod(0o755)

    def run(base: str = "", **inputs: str) -> list[str]:
        values = given | {key.replace("_", "-"): value for key, value in inputs.items()}
        env = {"BASE": base, "PATHS": values["paths"], "DIFF": values["diff"], "FAIL_ON": values["fail-on"]}
        env |= {"ARGUMENTS": values["arguments"], "SARIF": values["sarif"]}
        path = {"PATH": f"{shim.parent}:{os.environ['PATH']}"}
        script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(script, env=os.environ | env | path, capture_output=True, text=True, check=True)
        command, *words = done.stdout.splitlines()
        assert command == "critique"
        return words

    return run


def test_the_action_reviews_what_a_pull_request_changes(
    review_step: Callable[..., list[str]], checkout: Path, capsys: pytest.CaptureFixture[str]
):
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    words = review_step(base=head, arguments="--no-evidence --max-findings 3", sarif="found.sarif")
    assert main(["critique", *words]) == 0
    annotations = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in annotations] == ["::warning file=pkg/changed.py"]
    (result,) = json.loads((checkout / "found.sarif").read_text())["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "pkg/changed.py"
    assert main(["critique", *review_step(base=head, arguments="--no-evidence", fail_on="0.5")]) == 1


def test_the_action_installs_its_own_revision_or_what_is_asked_for(checkout: Path, tmp_path: Path):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (step,) = (s for s in action["runs"]["steps"] if s.get("name") == "Install")
    (tmp_path / "bin").mkdir()
    for name, does in (("python", 'printf "%s " "$@"'), ("bwrap", "exit 0")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "OWN": "/the action"}
    for asked, installed in (("", "/the action[critic]"), ("custodes==9", "custodes==9")):
        script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(script, env=env | {"INSTALL": asked}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"-m pip install --quiet {installed}"


def test_the_action_reviews_all_lines_where_there_is_no_base(
    review_step: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
):
    for words in (
        review_step(arguments="--no-evidence"),
        review_step(base="x", diff="none", arguments="--no-evidence"),
    ):
        assert main(["critique", *words]) == 0
        files = [line.split(",")[0].split("=")[1] for line in capsys.readouterr().out.splitlines()]
        assert files == ["pkg/changed.py", "pkg/old.py"]
    assert review_step(paths="pkg *.py") == ["pkg", "*.py", "--format", "github"]


def test_the_hook_runs_the_command_on_the_files_it_is_given(checkout: Path, capsys: pytest.CaptureFixture[str]):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language", "types_or", "additional_dependencies"} <= hook.keys()
    program, *words = [*shlex.split(hook["entry"]), *hook["args"]]
    assert program == "custodes"
    assert main([*words, "--no-evidence", "pkg/old.py"]) == 1
    assert "pkg/old.py:2" in capsys.readouterr().out
    Path("pkg/old.py").write_text("x = 1\n")
    assert main([*words, "--no-evidence", "pkg/old.py"]) == 0


def test_a_page_shows_a_folder_with_every_finding(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    test = "def test_f():\n    assert f(1) == '<b>'\n"
    monkeypatch.setattr(
        "custodes.critic.loading.open_critic", lambda choice, strictness, answers: LineCritic(test=test)
    )
    Path("pkg/broken.py").write_text("def f(:\n")
    assert main(["critique", "pkg", "--no-evidence", "--report", str(tmp_path / "page.html")]) == 2
    page = (tmp_path / "page.html").read_text()
    for shown in ("pkg/changed.py", "pkg/old.py", "An example fails", "A test to paste", "&lt;b&gt;", "pkg/broken.py"):
        assert shown in page
    assert "<b>'" not in page
    assert "http" not in page.split("</style>")[1].replace("http://www.w3.org", "")
