"""Tuning a policy on examples: one function under every method.

A method (``policy/methods/``) is a dataclass. Its fields are its options, and it turns examples into an objective.

Letters: P examples of an update, M actions of a pack, B episodes, T tokens of the longest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor

from custodes import registry
from custodes.feedback.reading import JudgmentsOptions
from custodes.lm.loading import LanguageModel
from custodes.policy.learner import Forward, Learner
from custodes.policy.rollout import Pack
from custodes.ranges import Count, Positive, ranged
from custodes.train import Decay, Metrics, OnStep, check_warmup, learning_rate_factor, shuffled_batches
from custodes.types import Episode, InputError

LearnsFrom = Literal["demonstrations", "preferences", "labels", "text"]
"""What an example of a method is: of demonstrations (task, reply) or (task, messages after its own), of preferences
:class:`custodes.types.PreferencePair`, of labels :class:`custodes.types.Example`, of text
:class:`custodes.policy.passages.Passage`."""


class TuneObjective(Protocol):
    """What a method makes of all examples."""

    episodes: list[Episode]
    labels: list[float]  # whatever else of the examples decides the result

    def packs(self, chosen: Sequence[int]) -> list[Pack]:
        """The micro-batches of an update on these examples; the loss is of these from now on."""
        ...

    def loss(self, pack: Pack, seen: Forward) -> Tensor:
        """Scalar, divided by the size of the whole update: any split into packs gives the same gradient."""
        ...

    def metrics(self) -> Metrics:
        """Of the packs whose loss was asked since :meth:`packs`; ``loss`` is among them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class TuneMethod:
    """How a policy is tuned on examples: the options of every method."""

    name: ClassVar[str]
    source: ClassVar[str]
    learns_from: ClassVar[LearnsFrom]

    rates: ClassVar[tuple[float, float]] = (5e-5, 1e-6)
    """Learning rates of adapters and of all weights, where none is given."""

    epochs: Count = 1
    """Passes over the examples."""
    batch: Count = 16
    """Examples per update."""
    learning_rate: float | None = None
    """The greatest learning rate; None: the method's own for adapters, or for all weights."""
    warmup_steps: int = 0
    """Updates over which the learning rate rises from 0."""
    decay: Decay = "cosine"
    """How the learning rate falls to 0 by the end: constant (it does not), linear or cosine."""
    weight_decay: float = 0.0
    """AdamW's decay of matrices; norms and biases do not decay."""
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm, those of each model on their own."""
    micro_tokens: Count = 2048
    """Tokens per forward and backward pass: bounds memory and leaves the result as it is."""
    checkpoint_every: Count = 10
    """Updates between checkpoints."""
    seed: int = 0
    """Decides everything that is drawn."""

    def examples(self, judgments: JudgmentsOptions) -> list[Any]:
        """What is learned of these judgments. Raises InputError where they hold none of it."""
        raise NotImplementedError

    def begin(self, lm: LanguageModel, folder: Path) -> LanguageModel:
        """The model that is tuned: ``lm``, or what this method makes of it, kept in ``folder``. Raises InputError."""
        return lm

    def objective(self, learner: Learner, examples: Sequence[Any]) -> TuneObjective:
        """What is learned of ``examples``. Raises InputError for one that is empty or does not fit the context."""
        raise NotImplementedError


def method_of(given: TuneMethod | str) -> TuneMethod:
    """The method itself, or one by its name or ``FILE.py:Name``, with its defaults. Raises InputError."""
    return given if isinstance(given, TuneMethod) else registry.method.make(given)  # type: ignore[no-any-return]


def tune(
    lm: LanguageModel,
    examples: Sequence[Any],
    method: TuneMethod,
    *,
    checkpoints: Path | None = None,
    on_step: OnStep | None = None,
    progress: bool = True,
) -> list[Metrics]:
    """Tune ``lm`` in place on ``examples``, which are what ``method.learns_from`` says.

    Called again with the same arguments, and ``lm`` as it came, it goes on after the last of ``checkpoints`` and ends where
    an uninterrupted run would. Returns of each update the method's own metrics, ``tokens`` (those that were learned) and
    ``grad_norm`` (before clipping).

    Raises:
        InputError: no example; one that is empty or does not fit the context; checkpoints of another run.
        Diverged: a loss or gradient is not finite; names step, examples and the last good checkpoint.
        KeyboardInterrupt: after Ctrl-C, once the state is saved.
    """
    if not examples:
        raise InputError(f"there is no example to learn from; {method.name} needs at least one.")
    learner = Learner(
        lm,
        learning_rate=method.rates[lm.adapter is None] if method.learning_rate is None else method.learning_rate,
        weight_decay=method.weight_decay,
        max_grad_norm=method.max_grad_norm,
    )
    objective, warmup = method.objective(learner, examples), method.warmup_steps
    batches = shuffled_batches([1] * len(examples), method.batch, method.epochs, method.seed)
    check_warmup(warmup, len(batches))

    def step(i: int) -> Metrics:
        packs = objective.packs(batches[i])
        factor = learning_rate_factor(i, len(batches), warmup + 1, warmup, method.decay)
        norm = learner.update(packs, objective.loss, 1.0, learning_rate_factor=factor)
        return {**objective.metrics(), "tokens": float(sum(len(p.targets) for p in packs)), "grad_norm": norm}

    def identity() -> dict[str, Any]:
        seen = hashlib.sha256(repr(objective.labels).encode())
        for episode in objective.episodes:
            seen.update(episode.token_ids.tobytes() + episode.action_mask.tobytes())
        options = {k: v for k, v in asdict(method).items() if k != "checkpoint_every"}
        return {"model": lm.fingerprint(), "examples": seen.hexdigest(), "method": method.name, **options}

    return learner.trainer.run(
        len(batches),
        step,
        title=f"{method.name} tuning",
        identity=identity,
        named=lambda row: objective.episodes[row].task.id,
        checkpoints=checkpoints,
        every=method.checkpoint_every,
        on_step=on_step,
        progress=progress,
    )
