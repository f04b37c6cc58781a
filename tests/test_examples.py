"""Every file in ``examples/`` runs: on the tiny model here, and where it is marked slow on the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
FEWER = {"optimise_a_policy": ["--steps", "2"], "people_to_reward": ["--tasks", "20"]}


def output_of(example: Path, *arguments: object) -> str:
    command = [sys.executable, str(example), *map(str, arguments)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # tiny products are slower on two
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=one_thread)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tiny_model: Path):
    model = ["--model", tiny_model] if "--model" in example.read_text() else []
    assert output_of(example, *model, *FEWER.get(example.stem, []))


def test_the_judges_are_found_out():
    last = output_of(EXAMPLES[0].parent / "judge_the_judges.py").splitlines()
    assert last[1].startswith(("poisoner", "random"))


@pytest.mark.slow
def test_the_embedded_model_answers():
    assert "river" in output_of(EXAMPLES[0].parent / "sample_a_model.py").lower()
