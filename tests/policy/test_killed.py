"""A run that is killed, in a process of its own, at the worst moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_policy import EvenTokens, adapted, some_tasks

from custodes.lm.checkpoint import checkpoints
from custodes.lm.engine import TorchEngine
from custodes.policy import OptimiseConfig, optimise
from custodes.types import Sampling

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
    code = f"import test_killed; test_killed.run_and_die({str(tiny_model)!r}, {str(tmp_path)!r}, {death!r})"
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["step-000002"]
    straight, resumed = adapted(tiny_model), adapted(tiny_model)
    for lm, out in ((straight, None), (resumed, tmp_path)):
        optimise(lm, some_tasks(), EvenTokens(), CONFIG, engine=TorchEngine(lm), out=out, progress=False)
    for a, b in zip(straight.trainable(), resumed.trainable(), strict=True):
        assert torch.equal(a, b)
