"""``import custodes as cu``: what a notebook starts with, loaded when it is asked for."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import custodes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TEN_LINES = re.search(r"```python\n(import custodes as cu\n.*?)```", README, re.DOTALL)


def test_every_name_is_there_and_is_the_one_of_its_home() -> None:
    for home, names in custodes.HOMES.items():
        module = sys.modules.get(home) or __import__(home, fromlist=["x"])
        for name in names:
            assert getattr(custodes, name) is getattr(module, name)
    assert set(custodes.__all__) == {name for names in custodes.HOMES.values() for name in names} | {"stats"}
    assert set(custodes.__all__) <= set(dir(custodes))
    assert custodes.stats.wilson(1, 2).n == 2
    with pytest.raises(AttributeError, match="no attribute 'optimize'"):
        _ = custodes.optimize
    assert 20 <= len(custodes.__all__) <= 42


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(custodes.__file__).read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
    seen: dict[str, set[str]] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.name == alias.asname  # a re-export, as type checkers read it
            seen.setdefault(node.module or "", set()).add(alias.name)
    assert seen == {home: set(names) for home, names in custodes.HOMES.items()} | {"custodes": {"stats"}}
    assert (Path(custodes.__file__).parent / "py.typed").exists()


def seconds(code: str) -> float:
    """Processor seconds of a process of its own, the least of five, Python's own start not counted: others at work on the
    machine do not count."""
    taken = []
    for program in (code, "pass") * 5:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken[::2]) - min(taken[1::2])


def test_importing_loads_nothing_slow_and_help_answers_at_once() -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'sqlalchemy', 'tyro', 'pydantic'}"
    subprocess.run([sys.executable, "-c", f"import sys, custodes; assert not {heavy} & set(sys.modules)"], check=True)
    assert seconds("import custodes") < 0.2
    assert seconds("from custodes.cli import main; main(['--help'])") < 0.5


def test_a_review_that_asks_no_model_loads_none(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text('def add(a, b):\n    """\n    >>> add(1, 2)\n    3\n    """\n    return a - b\n')
    asked = "import sys; from custodes.cli import main\ntry: main(['critique', 'sums.py'])\nexcept SystemExit: pass\n"
    ran = f"{asked}assert not {{'torch', 'scipy', 'transformers', 'pydantic'}} & set(sys.modules)"
    told = subprocess.run([sys.executable, "-c", ran], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "add(1, 2) gives -1" in told


def test_the_ten_lines_of_the_readme_run(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = ten_lines(tmp_path, monkeypatch, model=str(tiny_model))
    assert ran["result"].stopped == "steps"
    assert capsys.readouterr().out.split() == [f"{step['proxy']:.2f}" for step in ran["result"].metrics]
    again = custodes.load("short")  # what was saved is the policy that was optimised
    assert again.fingerprint() == ran["lm"].fingerprint()


@pytest.mark.slow
def test_the_ten_lines_of_the_readme_teach_the_real_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = [metrics["proxy"] for metrics in ten_lines(tmp_path, monkeypatch)["result"].metrics]
    assert sum(proxies[-3:]) > sum(proxies[:3])


def ten_lines(folder: Path, monkeypatch: pytest.MonkeyPatch, model: str = "") -> dict:
    """Run them in ``folder``, on a model that stands in for the embedded one; the names that they leave."""
    assert TEN_LINES is not None
    text = TEN_LINES[1]
    assert len([line for line in text.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(folder)
    names: dict = {"__name__": "notebook"}
    exec(compile(text.replace("smollm2-135m", model) if model else text, "README.md", "exec"), names)
    return names
