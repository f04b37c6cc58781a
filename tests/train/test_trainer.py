"""The trainer alone, on a line that is fitted to points."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from custodes.lm.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from custodes.train import Diverged, Metrics, Trainer, TrainStep, parameter_groups
from custodes.types import InputError

X = torch.linspace(-1, 1, 12)
Y = 3 * X - 0.5


class Line:
    """An objective: y = a x + b. A micro-batch is two points, by their numbers."""

    def __init__(self) -> None:
        self.a, self.b = nn.Parameter(torch.zeros(1, 1)), nn.Parameter(torch.zeros(1))
        self.scale = 1.0

    def micro_batches(self, batch: Sequence[int]) -> list[Sequence[int]]:
        self.size, self.total = len(batch), 0.0
        return [batch[i : i + 2] for i in range(0, len(batch), 2)]

    def loss(self, micro: Sequence[int]) -> Tensor:
        at = torch.tensor(micro)
        loss = (self.a[0] * X[at] + self.b - Y[at]).square().sum() / self.size * self.scale
        self.total += float(loss.detach())
        return loss

    def rows(self, micro: Sequence[int]) -> Sequence[int]:
        return micro

    def metrics(self) -> Metrics:
        return {"loss": self.total}


@dataclass
class Fit:
    """A training with all that the trainer asks of one."""

    line: Line
    trainer: Trainer
    refreshed: list[int]

    @staticmethod
    def new(norm: float = 1e9) -> Fit:
        line, refreshed = Line(), []
        groups = parameter_groups([line.a, line.b], 0.1)
        return Fit(line, Trainer(groups, refresh=lambda: refreshed.append(0), max_grad_norm=norm), refreshed)

    def run(self, steps: int = 8, before: Callable[[int], None] = lambda i: None, **more: Any) -> list[Metrics]:
        def step(i: int) -> Metrics:
            before(i)
            noise = float(torch.rand(()))  # a training may draw from a global generator
            return {**self.trainer.step(self.line, list(range(12)), 1.0), "noise": noise}

        given = {"title": "fitting", "identity": lambda: {"points": 12}, "every": 3, "progress": False}
        return self.trainer.run(steps, step, **(given | more))

    def weights(self) -> list[float]:
        return [self.line.a.item(), self.line.b.item()]


def test_it_fits_and_the_largest_norm_is_told() -> None:
    fit = Fit.new()
    metrics = fit.run(200)
    assert metrics[-1]["loss"] < 1e-3 * metrics[0]["loss"]
    assert fit.weights() == pytest.approx([3, -0.5], abs=0.05)
    assert len(fit.refreshed) == 200
    assert metrics[0]["grad_norm"] > metrics[-1]["grad_norm"]


def test_micro_batches_give_the_gradient_of_one_batch() -> None:
    grads = []
    for parts in ([list(range(12))], [[i] for i in range(12)]):
        line = Line()
        line.micro_batches(range(12))
        for micro in parts:
            line.loss(micro).backward()
        grads.append(torch.cat([line.a.grad.flatten(), line.b.grad]))
    torch.testing.assert_close(*grads)


def test_each_part_of_the_gradient_is_clipped_by_itself() -> None:
    line, seen = Line(), []
    trainer = Trainer(
        parameter_groups([line.a, line.b], 0.1),
        refresh=lambda: None,
        max_grad_norm=0.25,
        parts=lambda: [[line.a.grad], [line.b.grad]],
    )
    trainer.optimiser.register_step_pre_hook(lambda *_: seen.extend([line.a.grad.norm(), line.b.grad.norm()]))
    norms = trainer.update(line.micro_batches(range(12)), line.loss, line.rows)
    assert min(norms) > 0.25
    assert seen == pytest.approx([0.25, 0.25])


def test_matrices_decay_and_vectors_do_not() -> None:
    line = Line()
    (matrices,), (vectors,) = (g["params"] for g in parameter_groups([line.b, line.a], 0.1, 0.01))
    assert matrices is line.a
    assert vectors is line.b
    assert [g["weight_decay"] for g in parameter_groups([line.b, line.a], 0.1, 0.01)] == [0.01, 0]
    assert parameter_groups([], 0.1) == []


@pytest.mark.parametrize("at", [2, 3, 7])
def test_a_run_that_broke_off_ends_bit_for_bit_as_the_straight_one(tmp_path: Path, at: int) -> None:
    def power_cut(i: int) -> None:
        if i == at:
            raise RuntimeError("power cut")

    torch.manual_seed(5)
    straight = Fit.new()
    whole = straight.run()
    torch.manual_seed(5)
    with pytest.raises(RuntimeError, match="power cut"):
        Fit.new().run(before=power_cut, checkpoints=tmp_path)
    if at == 2:  # before the first checkpoint nothing is kept, the generators neither
        torch.manual_seed(5)
    resumed, steps = Fit.new(), list[int]()
    assert resumed.run(checkpoints=tmp_path, before=steps.append, log=tmp_path / "metrics.jsonl") == whole
    assert steps[0] == 3 * (at // 3)
    assert resumed.weights() == straight.weights()
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == whole


def test_the_end_is_kept_where_it_is_asked_for_and_then_nothing_is_done_again(tmp_path: Path) -> None:
    Fit.new().run(4, checkpoints=tmp_path / "not")
    assert [p.name for p in checkpoints(tmp_path / "not")] == ["step-000003"]
    first, again, steps = Fit.new(), Fit.new(), list[int]()
    done = first.run(4, checkpoints=tmp_path / "kept", keep_end=True)
    assert again.run(4, checkpoints=tmp_path / "kept", keep_end=True, before=steps.append) == done
    assert steps == []
    assert again.weights() == first.weights()


class Counter:
    """State beside the parameters, after which the run may end early."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def test_what_stands_beside_the_parameters_comes_back_and_may_end_the_run(tmp_path: Path) -> None:
    def run(counter: Counter) -> int:
        def count(i: int) -> None:
            counter.count += 1

        more = {"beside": counter, "stopped": lambda made: counter.count == 5, "keep_end": True}
        return len(Fit.new().run(before=count, checkpoints=tmp_path, **more))

    assert run(Counter()) == 5
    again = Counter()
    assert run(again) == 5
    assert again.count == 5


def test_a_step_that_cannot_begin_keeps_what_was_made_before_it(tmp_path: Path) -> None:
    """A reward that fails, say: the next run goes on from the step before it, to the same end."""

    def fail(i: int) -> None:
        torch.rand(9)  # what it drew is undone
        if i == 4:
            raise InputError("the judge does not answer.")

    torch.manual_seed(5)
    straight = Fit.new()
    whole = straight.run(before=lambda i: torch.rand(9))
    torch.manual_seed(5)
    with pytest.raises(InputError, match="the judge does not answer"):
        Fit.new().run(before=fail, checkpoints=tmp_path)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000003", "step-000004"]
    resumed = Fit.new()
    assert resumed.run(before=lambda i: torch.rand(9), checkpoints=tmp_path) == whole
    assert resumed.weights() == straight.weights()


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(tmp_path: Path) -> None:
    def press(i: int) -> None:
        if i == 1:
            os.kill(os.getpid(), signal.SIGINT)

    straight, resumed = Fit.new(), Fit.new()
    straight.run()
    with pytest.raises(KeyboardInterrupt):
        Fit.new().run(before=press, checkpoints=tmp_path)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000002"]
    resumed.run(checkpoints=tmp_path)
    assert resumed.weights() == straight.weights()


@pytest.mark.parametrize("what", ["loss", "norm"])
def test_what_is_not_finite_changes_nothing_and_says_step_rows_checkpoint_and_what_to_do(
    tmp_path: Path, what: str
) -> None:
    fit, before = Fit.new(), list[float]()

    def spoil(i: int) -> None:
        if i == 4:
            before.extend(fit.weights())
            fit.line.scale = torch.nan
            if what == "norm":
                fit.line.scale = 1.0
                fit.line.b.register_hook(lambda grad: grad + torch.inf)

    with pytest.raises(Diverged) as caught:
        fit.run(before=spoil, checkpoints=tmp_path, rows="points", named=lambda i: f"point {i}")
    said, rows = {"loss": ("the loss is nan", [0, 1]), "norm": ("the gradient's norm is inf", list(range(12)))}[what]
    named = "point 0, point 1" if what == "loss" else f"{', '.join(f'point {i}' for i in range(8))} and more"
    assert str(caught.value) == (
        f"fitting stopped at step 5: {said}, from points {named}; the last good checkpoint is {tmp_path / 'step-000003'}; "
        "lower the learning rate (0.1) or look at these points."
    )
    assert caught.value.rows == rows
    assert fit.weights() == before


def test_checkpoints_of_another_run_or_version_are_refused(tmp_path: Path) -> None:
    Fit.new().run(checkpoints=tmp_path)
    for other, said in (
        ({"points": 13}, "points was 12, now 13"),
        ({"points": 12, "digest": "0" * 64}, "other digest"),
        ({"points": 12, "sampling": {"n": 4}}, r"sampling\.n was None, now 4"),
        ({}, "points was 12, now None"),
    ):
        with pytest.raises(
            InputError, match=rf"another run \({said}\); use the same options, model and data, or another"
        ):
            Fit.new().run(checkpoints=tmp_path, identity=lambda other=other: other)
    found = load_checkpoint(tmp_path)
    assert found is not None
    save_checkpoint(tmp_path, 9, {name: value for name, value in found[0].items() if name != "format"})
    with pytest.raises(InputError, match=r"step-000009 is of another version of Custodes; begin in another folder"):
        Fit.new().run(checkpoints=tmp_path)


def test_progress_tells_step_metrics_and_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[TrainStep] = []
    metrics = Fit.new().run(3, on_step=steps.append, progress=True)
    assert [(s.step, s.steps, s.metrics) for s in steps] == [(i + 1, 3, metrics[i]) for i in range(3)]
    assert steps[0].seconds <= steps[1].seconds
    assert steps[0].seconds_left > 0 == steps[2].seconds_left
    assert f"fitting, loss {metrics[-1]['loss']:.3f}" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"metrics\.jsonl cannot be written"):
        Fit.new().run(log=tmp_path / "file" / "metrics.jsonl")
