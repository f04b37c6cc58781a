"""One trainer under every training: updates, clipping, divergence, checkpoints, going on, progress.

A training supplies the parameters that learn, its batches, and the loss of a micro-batch. That loss is divided by the size
of the *whole* batch before it comes here, so that any split into micro-batches gives the same gradient. A checkpoint
holds everything that the rest of a run depends on: the run that is resumed ends where the straight one would, bit for bit.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from rich.console import Console
from torch import Tensor, nn

from custodes.job.progress import Progress
from custodes.job.trackers import track
from custodes.lm.checkpoint import checkpoints as checkpoints_in
from custodes.lm.checkpoint import load_checkpoint, random_states, restore_random_states, save_checkpoint
from custodes.types import InputError

ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8
FORMAT = 2
"""Of checkpoints; those of version 0.1 have none."""
NAMED = 8
"""So many of the rows that a training diverged on are named."""
SHORT = 60
"""Options that differ are printed up to this length."""
SHOWN, LOSS = 20, {"loss": "loss"}
"""The bar shows means over a run's last twentieth, by default of the loss: single batches jump."""

Metrics = dict[str, float]
Batch = TypeVar("Batch", contravariant=True)
Micro = TypeVar("Micro")


class Diverged(InputError):  # noqa: N818 - what happened, not who erred
    """A loss or gradient is NaN or infinite; the weights are those before the update.

    ``rows`` are numbers of the examples that it came from.
    """

    def __init__(self, what: str, rows: Sequence[int]) -> None:
        super().__init__(what)
        self.what, self.rows = what, list(rows)


class Objective(Protocol[Batch, Micro]):
    """What a training teaches, one batch after another."""

    def micro_batches(self, batch: Batch) -> Sequence[Micro]:
        """The parts of a batch that a forward and backward pass can take; losses are of these from now on."""
        ...

    def loss(self, micro: Micro) -> Tensor:
        """Scalar, divided by the size of the whole batch."""
        ...

    def rows(self, micro: Micro) -> Sequence[int]:
        """Numbers of the examples in a micro-batch."""
        ...

    def metrics(self) -> Metrics:
        """Of the batch whose losses were asked last, as the parameters were before the update."""
        ...


class Stateful(Protocol):
    """What a run changes beside its parameters."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class TrainStep:
    """What one step did, for progress and logs."""

    step: int  # from 1
    steps: int
    metrics: Metrics
    seconds: float  # since this process began to train
    seconds_left: float

    @classmethod
    def of(cls, metrics: Sequence[Metrics], steps: int, made: int, seconds: float) -> TrainStep:
        """The last step of ``metrics``; this process ``made`` so many steps in ``seconds``."""
        return cls(len(metrics), steps, metrics[-1], seconds, seconds / made * (steps - len(metrics)))


OnStep = Callable[[TrainStep], None]


def parameter_groups(
    parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay, norms and biases (vectors) do not. ``full_lr`` is the rate before any schedule."""
    own = list(parameters)
    decays = ([p for p in own if p.ndim > 1], weight_decay), ([p for p in own if p.ndim < 2], 0.0)
    rate = {"lr": learning_rate, "full_lr": learning_rate}
    return [{"params": params, "weight_decay": decay, **rate} for params, decay in decays if params]


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


class Trainer:
    """Parameters that learn, and AdamW over them.

    Args:
        groups: as :func:`parameter_groups` makes them.
        refresh: called after each change of parameters, so that what computes becomes what was learned.
        max_grad_norm: each part of the gradient is scaled down to this norm by itself.
        parts: the gradients of each part, asked after the backward pass; by default all of them are one part.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        *,
        refresh: Callable[[], None],
        max_grad_norm: float,
        parts: Callable[[], list[list[Tensor]]] | None = None,
        betas: tuple[float, float] = ADAM_BETAS,
    ) -> None:
        self.refresh, self.max_grad_norm = refresh, max_grad_norm
        self.optimiser = torch.optim.AdamW(groups, betas=betas, eps=ADAM_EPSILON, fused=True)
        self.parameters: list[nn.Parameter] = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.parts = parts or (lambda: [gradients_of(self.parameters)])
        self.updates = 0  # made by this process

    def update(
        self,
        micro_batches: Sequence[Micro],
        loss: Callable[[Micro], Tensor],
        rows: Callable[[Micro], Sequence[int]],
        factor: float = 1.0,
    ) -> list[float]:
        """One step of AdamW on the sum of ``loss``, with every rate times ``factor``; norms of the gradient's parts before clipping.

        Raises :class:`Diverged` before any parameter changes where a loss or a norm is not finite.
        """
        self.optimiser.zero_grad()
        for micro in micro_batches:
            value = loss(micro)
            if not torch.isfinite(value):
                raise Diverged(f"the loss is {value.item()}", rows(micro))
            value.backward()  # type: ignore[no-untyped-call]
        parts = self.parts()
        norms = [float(nn.utils.get_total_norm(part)) for part in parts]
        if bad := [norm for norm in norms if not math.isfinite(norm)]:
            raise Diverged(
                f"the gradient's norm is {bad[0]}", sorted({row for micro in micro_batches for row in rows(micro)})
            )
        for norm, part in zip(norms, parts, strict=True):
            if norm > self.max_grad_norm:
                torch._foreach_mul_(part, self.max_grad_norm / norm)
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * factor
        self.optimiser.step()
        self.updates += 1
        self.optimiser.zero_grad()
        self.refresh()
        return norms

    def step(self, objective: Objective[Batch, Any], batch: Batch, factor: float) -> Metrics:
        """One update on a batch; the objective's metrics, and ``grad_norm``, the largest of its parts before clipping."""
        norms = self.update(objective.micro_batches(batch), objective.loss, objective.rows, factor)
        return {**objective.metrics(), "grad_norm": max(norms)}

    def run(
        self,
        steps: int,
        step: Callable[[int], Metrics],
        *,
        title: str,
        identity: Callable[[], Mapping[str, Any]],
        rows: str = "examples",
        named: Callable[[int], str] = str,
        checkpoints: Path | None = None,
        every: int = 10,
        keep_end: bool = False,
        beside: Stateful | None = None,
        stopped: Callable[[int], bool] = lambda made: False,
        log: Path | None = None,
        on_step: OnStep | None = None,
        progress: bool = True,
        shown: Mapping[str, str] = LOSS,
    ) -> list[Metrics]:
        """Call ``step`` with 0 to ``steps`` - 1, from where the last of ``checkpoints`` ends; the metrics of all steps.

        Ctrl-C ends after the step at hand, with a checkpoint where there are any; a second one at once. A step that raises
        InputError before its first update must leave everything as it was: there is a checkpoint then too.

        Args:
            identity: what must be equal for checkpoints to be of the same run; asked only where there are checkpoints.
            rows, named: what examples are called, and one of them by its number, where the training diverges.
            every: steps between checkpoints; after the last step there is one where ``keep_end``.
            beside: what the steps change beside the parameters.
            stopped: whether the run is over after so many steps; asked before the first one too.
            log: a file that gets the metrics, one JSON object a line.
            shown: metrics that the bar shows, and what it calls them.

        Raises:
            InputError: checkpoints of another run; files that cannot be written.
            Diverged: says step, rows, the last good checkpoint, and what to do.
            KeyboardInterrupt: after Ctrl-C.
        """
        console = Console(stderr=True, quiet=not progress)
        own = {} if checkpoints is None else json.loads(json.dumps(dict(identity()), default=str))
        found = None if checkpoints is None else load_checkpoint(checkpoints)
        metrics = [] if found is None else self._resume(*found, own, beside, console)
        _write(log, metrics, "w")
        began, first = time.monotonic(), len(metrics)
        with Progress(console=console, disable=not progress) as bar, _interruptible(console) as interrupted:
            line = bar.add_task(title, total=steps, completed=first)
            while len(metrics) < steps and not stopped(len(metrics)):
                updates, random = self.updates, random_states()
                try:
                    metrics.append(step(len(metrics)))
                except Diverged as error:
                    what = f"{title} stopped at step {len(metrics) + 1}: {error.what}, from {rows}"
                    raise self._explained(error.rows, what, rows, named, checkpoints) from None
                except InputError:
                    if checkpoints is not None and self.updates == updates and metrics:  # nothing of the step was made
                        self._save(checkpoints, own, metrics, beside, random)
                    raise
                _write(log, metrics[-1:], "a")
                track(metrics[-1], len(metrics), title)
                latest = metrics[-max(1, steps // SHOWN) :]
                bar.update(line, completed=len(metrics), description=f"{title}, {_means(latest, shown)}")
                if on_step is not None:
                    on_step(TrainStep.of(metrics, steps, len(metrics) - first, time.monotonic() - began))
                ended = len(metrics) == steps or stopped(len(metrics))
                if checkpoints is not None and (keep_end if ended else interrupted() or len(metrics) % every == 0):
                    self._save(checkpoints, own, metrics, beside, random_states())
                if interrupted() and not ended:
                    raise KeyboardInterrupt
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Everything that updates changed."""
        return {"parameters": [p.detach() for p in self.parameters], "optimiser": self.optimiser.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to a state, bit for bit; what computes follows."""
        for parameter, stored in zip(self.parameters, state["parameters"], strict=True):
            parameter.copy_(stored)
        self.optimiser.load_state_dict(state["optimiser"])
        self.refresh()

    def _save(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        metrics: Sequence[Metrics],
        beside: Stateful | None,
        random: dict[str, Any],
    ) -> None:
        about = {"format": FORMAT, "identity": identity, "metrics": metrics, "random": random}
        more = {} if beside is None else beside.state_dict()
        save_checkpoint(folder, len(metrics), {**about, "trainer": self.state_dict(), "beside": more})

    def _resume(
        self,
        state: dict[str, Any],
        path: Path,
        passed: Sequence[str],
        identity: Mapping[str, Any],
        beside: Stateful | None,
        console: Console,
    ) -> list[Metrics]:
        """Return to a checkpoint, past those that were not whole; the metrics of the steps before it."""
        for sentence in passed:
            warnings.warn(sentence, stacklevel=4)
        if state.get("format") != FORMAT:
            raise InputError(f"checkpoint {path} is of another version of Custodes; begin in another folder.")
        was, now = dict(_leaves(state["identity"])), dict(_leaves(identity))
        if other := [name for name in {**was, **now} if was.get(name) != now.get(name)]:
            pairs = [(name, f"{was.get(name)!r}, now {now.get(name)!r}") for name in other]
            differs = ", ".join(f"{name} was {pair}" if len(pair) <= SHORT else f"other {name}" for name, pair in pairs)
            raise InputError(
                f"checkpoint {path} belongs to another run ({differs}); use the same options, model and data, or another folder."
            )
        self.load_state_dict(state["trainer"])
        if beside is not None:
            beside.load_state_dict(state["beside"])
        restore_random_states(state["random"])
        console.print(f"Going on after step {len(state['metrics'])} from {path}.")
        return list(state["metrics"])

    def _explained(
        self, numbers: Sequence[int], what: str, rows: str, named: Callable[[int], str], checkpoints: Path | None
    ) -> Diverged:
        names = list(dict.fromkeys(map(named, numbers)))
        listed = ", ".join(names[:NAMED]) + (" and more" if len(names) > NAMED else "")
        kept = checkpoints_in(checkpoints) if checkpoints is not None else []
        good = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
        rate = self.optimiser.param_groups[0]["full_lr"]
        return Diverged(
            f"{what} {listed}; {good}; lower the learning rate ({rate:g}) or look at these {rows}.", numbers
        )


def _means(latest: Sequence[Metrics], shown: Mapping[str, str]) -> str:
    """What the bar says of the last steps."""
    values = {label: [m[name] for m in latest if name in m] for name, label in shown.items()}
    return ", ".join(f"{label} {sum(of) / len(of):.3f}" for label, of in values.items() if of)


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield from _leaves(value, f"{path}{name}.") if isinstance(value, dict) else [(path + name, value)]


def _write(log: Path | None, metrics: Sequence[Metrics], mode: str) -> None:
    """Into the log, where there is one. Numbers that are not finite are null."""
    if log is None:
        return
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open(mode) as file:
            for row in metrics:
                file.write(json.dumps({k: v if math.isfinite(v) else None for k, v in row.items()}) + "\n")
    except OSError as error:
        raise InputError(f"{log} cannot be written ({error.strerror}); choose another folder.") from None


@contextmanager
def _interruptible(console: Console) -> Iterator[Callable[[], bool]]:
    """Ctrl-C sets a flag, so that the step at hand can end and be saved; a second one interrupts at once."""
    pressed = False

    def handle(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        console.print("Stopping after this step; press Ctrl-C again to stop at once (the last checkpoint stays).")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
