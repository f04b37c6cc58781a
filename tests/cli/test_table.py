"""File = command: ``custodes gaming compare`` is ``gaming/jobs/compare.py``, its function ``gaming_compare``."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import custodes
from custodes.cli import commands, main
from custodes.cli.table import ELSEWHERE, GROUPS, Listed, group_of

ROOT = Path(custodes.__file__).parent
FILES = [p for f in ("loop", "*/jobs") for p in sorted(ROOT.glob(f"{f}/*.py")) if p.name != "__init__.py"]
HELPERS = {
    *("loop/evaluation.py", "loop/judging.py", "loop/chosen_tasks.py", "loop/gains.py"),
    *("loop/new_policy.py", "loop/optimised_arm.py", "loop/policy_plan.py", "loop/policy_front.py"),
    *("loop/demonstrations.py", "loop/rubric_training.py", "loop/training_oversight.py"),
    *("loop/alarm_watch.py", "loop/assisted_labels.py", "loop/trainer_logs.py"),
    *("loop/rounds.py", "loop/round_options.py", "loop/round_judges.py", "loop/round_pairs.py"),
    *("loop/round_watch.py", "loop/round_reward.py", "loop/quickstart_rounds.py", "loop/model_history.py"),
    "loop/quickstart_disclosure.py",
    *("loop/attack_detector.py", "loop/attacked_reward.py"),
    *("loop/probing.py", "loop/quickstart_compare.py", "loop/audited.py"),
}
"""Files among the commands that are none."""


def declared_in(path: Path) -> list[ast.FunctionDef]:
    """The functions of a file that are decorated as commands, as Python itself reads it."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return [f for f in functions if any(ast.unparse(d).startswith("command(") for d in f.decorator_list)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_a_command_of_its_name_or_a_named_helper(path: Path):
    names = [function.name for function in declared_in(path)]
    if str(path.relative_to(ROOT)) in HELPERS:
        assert not names
        return
    guest = path.parts[path.parts.index("custodes") + 1]
    assert names in ([path.stem], [f"{guest}_{path.stem}"])
    (function,) = declared_in(path)
    listed = commands()[function.name.replace("_", " ", 1)]
    assert listed.summary == (ast.get_docstring(function) or "").splitlines()[0]
    assert Path(importlib.util.find_spec(listed.module).origin or "") == path  # type: ignore[union-attr]


def test_the_table_holds_every_declared_command_and_nothing_else():
    declared = {f.name.replace("_", " ", 1) for path in ROOT.rglob("*.py") for f in declared_in(path)}
    assert set(commands()) == declared
    assert {group_of(name) for name in commands()} == set(GROUPS)


@pytest.mark.parametrize("listed", commands().values(), ids=lambda listed: listed.name)
def test_a_command_is_a_function_of_one_dataclass_that_is_named_after_it(listed: Listed):
    declared = listed.declared()
    assert declared.function is getattr(importlib.import_module(listed.module), listed.function)
    assert dataclasses.is_dataclass(declared.options)
    required = [p for p in inspect.signature(declared.function).parameters.values() if p.default is p.empty]
    assert len(required) == 1
    assert declared.options.__doc__


def test_help_imports_no_file_of_a_command():
    code = (
        "import sys; from custodes.cli import main; main(['--help']);"
        "sys.exit(any(n.startswith(('custodes.loop', 'custodes.gaming', 'custodes.critic', 'torch')) for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


# ---------------------------------------------------------------- names that are none


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_an_old_or_foreign_name_suggests_the_command(name: str, capsys: pytest.CaptureFixture[str]):
    assert main([*name.split(), "a", "--b", "c"]) == 2
    said = capsys.readouterr().err
    assert f"there is no command '{name}'" in said
    assert f"did you mean '{ELSEWHERE[name]}'?" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("quikstart", "did you mean 'quickstart'?"),
        ("reward tran", "did you mean 'reward train'?"),
        ("reward judge", "did you mean 'feedback judge'?"),
        ("gaming sample", "did you mean 'policy sample'?"),
        ("tamper", "did you mean 'critic tamper'?"),
        ("compare", "did you mean 'policy compare' or 'audit compare' or 'gaming compare'?"),
        ("xyzzy", "see custodes --help."),
        ("ledger xyzzy", "see custodes ledger --help."),
    ],
)
def test_a_wrong_name_suggests_the_likeliest(given: str, meant: str, capsys: pytest.CaptureFixture[str]):
    assert main(given.split()) == 2
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize("group", [group for group in GROUPS if group])
def test_a_group_alone_lists_its_commands(group: str, capsys: pytest.CaptureFixture[str]):
    assert main([group]) == 2
    printed = capsys.readouterr().out
    assert all((f"  {name} " in printed) == (group_of(name) == group) for name in commands())
    assert main([group, "--help"]) == 0
    assert capsys.readouterr().out == printed
