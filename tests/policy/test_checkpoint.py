from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_policy import EvenTokens, adapted, some_tasks

from custodes.lm.engine import TorchEngine
from custodes.policy import OptimiseConfig, optimise
from custodes.policy.checkpoint import (
    checkpoints,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)
from custodes.types import InputError, Sampling

STATE = {"x": torch.arange(5.0), "nested": {"y": 1.5, "z": ["a", None]}}


def test_a_checkpoint_comes_back_and_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in range(1, 5):
        save_checkpoint(tmp_path, step, {**STATE, "step": step})
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000003", "step-000004"]
    found = load_checkpoint(tmp_path)
    assert found is not None
    state, path, passed = found
    assert path.name == "step-000004"
    assert passed == []
    assert torch.equal(state["x"], STATE["x"])
    assert state["nested"] == STATE["nested"]
    assert load_checkpoint(tmp_path / "nothing") is None


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "checksum"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, harm: str) -> None:
    save_checkpoint(tmp_path, 1, {"step": 1})
    file = save_checkpoint(tmp_path, 2, {"step": 2}) / "state.pt"
    data = file.read_bytes()
    match harm:
        case "flip":
            file.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
        case "cut":
            file.write_bytes(data[:-1])
        case "remove":
            file.unlink()
        case "checksum":
            (file.parent / "sha256").write_text("")
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[0] == {"step": 1}
    assert "step-000002 is damaged" in found[2][0]
    (tmp_path / "step-000001" / "state.pt").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 2 checkpoints"):
        load_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"step": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"step-000002 cannot be written .* the last good one is .*step-000001"):
            save_checkpoint(tmp_path, 2, {"x": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


def test_random_generators_go_on_where_they_were() -> None:
    def draw() -> tuple[float, float, float, float]:
        return float(torch.rand(1)), np.random.rand(), np.random.randn(), random.gauss(0, 1)

    draw()  # leaves half of a pair of normal draws behind in two generators
    states = random_states()
    expected = [draw() for _ in range(3)]
    restore_random_states(states)
    assert [draw() for _ in range(3)] == expected


CONFIG = OptimiseConfig(
    steps=6,
    tasks_per_step=4,
    sampling=Sampling(n=3, max_tokens=8),
    learning_rate=1e-2,
    checkpoint_every=2,
    minibatches=2,
)


def run_and_die(model: str, out: str, death: str) -> None:
    """In a process of its own: optimise, and be killed at a place."""
    lm = adapted(Path(model))

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if death == "while a checkpoint is being written":
        fsync, count = os.fsync, 0

        def die_at_the_second_checkpoint(handle: int) -> None:
            nonlocal count
            count += 1
            fsync(handle)
            if count == 6:  # four for each checkpoint: state, checksum, its folder, the folder around
                kill()

        os.fsync = die_at_the_second_checkpoint
    original = torch.optim.AdamW.step
    updates = 0

    def step(self, *arguments):
        nonlocal updates
        updates += 1
        if death == "between two updates of a step" and updates == 8:
            kill()
        return original(self, *arguments)

    torch.optim.AdamW.step = step
    torch.set_num_threads(1)
    optimise(lm, some_tasks(), EvenTokens(), CONFIG, engine=TorchEngine(lm), out=Path(out), progress=False)


@pytest.mark.parametrize("death", ["between two updates of a step", "while a checkpoint is being written"])
def test_a_run_that_was_killed_ends_bit_for_bit_as_the_straight_one(
    tiny_model: Path, tmp_path: Path, death: str
) -> None:
    code = f"import test_checkpoint; test_checkpoint.run_and_die({str(tiny_model)!r}, {str(tmp_path)!r}, {death!r})"
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["step-000002"]
    straight, resumed = adapted(tiny_model), adapted(tiny_model)
    for lm, out in ((straight, None), (resumed, tmp_path)):
        optimise(lm, some_tasks(), EvenTokens(), CONFIG, engine=TorchEngine(lm), out=out, progress=False)
    for a, b in zip(straight.trainable(), resumed.trainable(), strict=True):
        assert torch.equal(a, b)
