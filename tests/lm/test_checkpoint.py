from __future__ import annotations

import random
import resource
import signal
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from custodes.lm.checkpoint import (
    checkpoints,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)
from custodes.types import InputError

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


class Interrupts:
    """Somebody presses Ctrl-C while this is being written."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        signal.raise_signal(signal.SIGINT)
        return OrderedDict, ()


@pytest.fixture
def listening() -> Iterator[None]:
    """Ctrl-C counts, also where the tests run as a shell's background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_while_a_checkpoint_is_written_is_ctrl_c_and_no_full_disk(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"step": 1})
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 2, {"step": 2, "pressed": Interrupts()})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    save_checkpoint(tmp_path, 2, {"step": 2})
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000001", "step-000002"]


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
