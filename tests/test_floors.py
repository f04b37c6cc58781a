"""The house stands on floors: a file imports only from floors below its own, and nothing imports in circles."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import custodes

ROOT = Path(custodes.__file__).parent
FLOORS = {
    "`types.py`, `errors.py`, `ranges.py`, `stats/`, `tables.py`, `table_text.py`, `table_sources.py`, `columns.py`, `files.py`, `dialogue.py`, "
    "`digests.py`, `wording.py`, `registry.py`": (
        "the nouns; the error for wrong input; ranges of numeric options; intervals, tests, agreement; the one reader of people's tables; "
        "the one atomic write; conversations; digests of files; numbers of things in sentences; plug-ins by name"
    ),
    "`ledger/`": "the append-only record",
    "`job/`": "what every command shares: folder, lock, recorded run, phases, going on, progress",
    "`adapters/`": "runs of other trainers, written beside them: TRL, verl",
    "`page/`": "the one kit for HTML reports: a report is a list of sections",
    "`lm/`": "loading, tokenising, sampling engines, log-probabilities",
    "`train/`": "one trainer: batches, schedule, clipping, divergence, checkpoints, going on; alone with lm/ it may know of ranks",
    "`environments/`": "prompts, checkable instructions, the sandbox",
    "`feedback/`": "annotators, quality, import and export; critiques, Elo, teams",
    "`reward/`": "reward functions and models",
    "`policy/`": "rollouts, advantages, losses, the optimisation loop, preference and supervised tuning",
    "`audit/`": "what got better, what was gamed, who is not to be trusted: the report",
    "`loop/`": "the jobs of the loop, one file a command",
    "`critic/`, `gaming/`, `web/`": (
        "the guests: models that find bugs, and the bugs they learn from; gameable environments, their detectors and monitors; "
        "the annotation server; each imports the loop, none imports another"
    ),
    "`cli/`": "one command per verb; parses, calls, prints; no logic",
}
"""What stands on each floor, the lowest first, and what it holds."""
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in re.findall(r"`(\w+)", names)}


def modules() -> dict[str, Path]:
    """Dotted name -> file; a package is its ``__init__.py``."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """The project's modules that a module imports, anywhere in its file, also for the type checker."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys()
            if names - MODULES.keys():  # something that the module itself defines
                found.add(base)
    return {m for m in found if m.split(".")[0] == "custodes"} - {name, "custodes"}


def part(name: str) -> str:
    """``custodes.lm.decoder`` -> ``lm``."""
    return name.split(".")[1]


GRAPH = {name: imports(name) for name in MODULES}


def test_the_graph_is_read():
    assert "custodes.types" in GRAPH["custodes.stats.base"]
    unknown = {target for targets in GRAPH.values() for target in targets} - MODULES.keys()
    assert not unknown


def picture() -> str:
    """The table of floors, as CONTRIBUTING shows it."""
    rows = [f"| {height} | {names} | {held} |" for height, (names, held) in enumerate(FLOORS.items())]
    return "\n".join(["| floor | package | holds |", "|---|---|---|", *reversed(rows)])


def test_contributing_shows_these_floors():
    shown = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    assert picture() in shown, f"CONTRIBUTING.md: the table of floors should be\n\n{picture()}"


def test_every_part_has_a_floor():
    assert {part(name) for name in MODULES if name != "custodes"} <= FLOOR.keys() | {"__main__"}


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("custodes", "custodes.__main__")])
def test_imports_only_from_floors_below(name):
    own = part(name)
    for target in GRAPH[name]:
        other = part(target)
        below = FLOOR[other] < FLOOR[own] or other == own or FLOOR[own] == 0
        assert below, f"{name} (floor {FLOOR[own]}) imports {target} (floor {FLOOR[other]})"


def test_nothing_imports_in_circles():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "import circle: " + " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in sorted(GRAPH.get(name, ())):
                visit(target, (*path, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


@pytest.mark.parametrize("name", [n for n, p in MODULES.items() if p.name == "__init__.py" and n != "custodes"])
def test_a_package_hands_on_names_and_nothing_else(name):
    for node in ast.parse(MODULES[name].read_text()).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        listing = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        assert docstring or listing or isinstance(node, ast.ImportFrom), f"{name}: line {node.lineno}"


@pytest.mark.parametrize("name", MODULES)
def test_a_file_is_one_idea(name):
    assert len(MODULES[name].read_text().splitlines()) <= 500


def test_ledger_and_nouns_load_no_deep_learning_framework():
    code = "import sys, custodes.types, custodes.ledger, custodes.stats; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
