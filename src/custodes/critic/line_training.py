"""Teaching a model where bugs are, from code whose bugs are known.

The loss of a function is -log of the probability that falls on its bug's lines, all of them together, or on "in none"
where it is clean. No padding: functions are packed, and the gradient is that of the batch whatever the micro-batches.
"""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from custodes.critic.lines import LineScorer, LineScores, Reading, ScoresLines, new_line_scorer
from custodes.lm import Adapter, AdapterConfig, LanguageModel, pack, split_by_budget
from custodes.lm.checkpoint import load_checkpoint, save_checkpoint
from custodes.stats import Interval, auc, calibration_error, mean_interval, wilson
from custodes.types import InputError

BLANK = -1e9
"""Logit of a blank line."""


@dataclass(frozen=True, slots=True)
class KnownBug:
    """Code and the lines, from 1, of its bug; none for clean code."""

    code: str
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineConfig:
    """How a line scorer is trained."""

    rank: int = 8
    """Rank of the adapter."""
    alpha: float = 16.0
    """The adapter's update is scaled by alpha / rank."""
    first_layer: int = 0
    """The adapter starts at this layer (negative: counted from the top)."""
    epochs: int = 1
    """Passes over the examples."""
    batch: int = 32
    """Functions per update."""
    learning_rate: float = 4e-4
    """Of the adapter."""
    head_learning_rate: float = 1e-3
    """Of the two directions that answer."""
    warmup: float = 0.05
    """Share of the updates over which learning rates rise from 0; afterwards they fall linearly to 0."""
    max_grad_norm: float = 1.0
    """The gradient is scaled down to this norm."""
    max_tokens: int = 1024
    """Longer readings (the code twice) are left out of training."""
    micro_tokens: int = 4096
    """Tokens per forward and backward pass."""
    checkpoint_every: int = 200
    """Updates between checkpoints, where a folder for them is given."""
    seed: int = 0
    """Decides initialisation and order."""

    def __post_init__(self) -> None:
        for name in ("rank", "epochs", "batch", "max_tokens", "micro_tokens", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"option {name} is {getattr(self, name)}; it must be 1 or more.")
        if not (self.learning_rate > 0 and self.head_learning_rate > 0 and 0 <= self.warmup < 1):
            raise InputError("learning rates must be above 0 and warmup between 0 and 1.")


@dataclass(frozen=True, slots=True)
class LineStep:
    """What one update did."""

    step: int  # from 1
    steps: int
    loss: float  # nats per function
    right: float  # share whose likeliest answer was right, before the update
    tokens: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class LineEvaluation:
    """How well the lines are found, by functions."""

    at_1: Interval
    """Tampered functions whose likeliest line is one of the bug's."""
    at_3: Interval
    """One of the bug's lines is among the three likeliest."""
    chance: float
    """What a line drawn blindly among those that are not blank would reach at 1."""
    false_alarms: Interval
    """Clean functions that are reported."""
    caught: Interval
    """Tampered functions that are reported, whatever line is named."""
    calibration_error: Interval
    """Of the probability of a bug anywhere."""
    findings: Interval
    """Lines reported for a function."""
    discrimination: Interval
    """Area under the ROC curve of tampered against clean functions: how plain the bugs are. 0.5 is as subtle as can be."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        intervals = ("at_1", "at_3", "false_alarms", "caught", "calibration_error", "findings", "discrimination")
        return {name: getattr(self, name).to_dict() for name in intervals} | {"chance": self.chance}


OnStep = Callable[[LineStep], None]


def train_lines(
    lm: LanguageModel,
    examples: Sequence[KnownBug],
    config: LineConfig | None = None,
    *,
    checkpoints: Path | None = None,
    on_step: OnStep | None = None,
) -> LineScorer:
    """Train a scorer of lines; the same seed and options give the same weights.

    ``lm`` without an adapter; it gets a new one. Where ``checkpoints`` holds one of this very run, it is continued.
    Raises InputError: no example that fits; a loss that is not finite; checkpoints of another run.
    """
    trainer = _Trainer(lm, examples, config or LineConfig())
    if checkpoints is not None:
        trainer.resume(checkpoints)
    began, first = time.monotonic(), trainer.step
    while trainer.step < trainer.steps:
        done = trainer.update()
        if on_step is not None:
            left = (time.monotonic() - began) / (trainer.step - first) * (trainer.steps - trainer.step)
            on_step(replace(done, seconds_left=left))
        if checkpoints is not None and trainer.step % trainer.config.checkpoint_every == 0:
            save_checkpoint(checkpoints, trainer.step, trainer.state())
    return trainer.scorer


def calibrate_lines(scorer: ScoresLines, examples: Sequence[KnownBug], false_alarms: float = 0.1) -> None:
    """Find the temperature that makes ``examples``, which training did not see, most likely, and the threshold from
    which at most the share ``false_alarms`` of the clean ones is reported. Raises InputError without clean examples."""
    clean = [e for e in examples if not e.lines]
    if not clean or len(clean) == len(examples):
        raise InputError("to calibrate, both clean functions and functions with known bugs are needed.")
    scorer.temperature = 1.0
    plain = scorer.scores([e.code for e in examples])
    logs = [np.log(np.maximum(np.append(s.lines, s.none), 1e-30)) for s in plain]

    def loss(log_t: float) -> float:
        return float(np.mean([_nats(row / math.exp(log_t), e) for row, e in zip(logs, examples, strict=True)]))

    scorer.temperature = math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
    alarms = sorted(1 - s.none for s in scorer.scores([e.code for e in clean]))
    allowed = int(false_alarms * len(alarms))
    scorer.threshold = float(np.nextafter(alarms[len(alarms) - 1 - allowed], 2)) if allowed < len(alarms) else 0.0


def evaluate_lines(scorer: ScoresLines, examples: Sequence[KnownBug]) -> LineEvaluation:
    """Localisation, alarms and calibration with 95 % intervals (Wilson)."""
    scores = scorer.scores([e.code for e in examples])
    with_bug = [(e, s) for e, s in zip(examples, scores, strict=True) if e.lines]
    alarm = np.array([1 - s.none for s in scores])
    truth = np.array([bool(e.lines) for e in examples])
    reported = alarm >= scorer.threshold
    chances = [len(set(e.lines)) / max(1, sum(bool(line.strip()) for line in e.code.split("\n"))) for e, _ in with_bug]
    return LineEvaluation(
        at_1=wilson(sum(_found(s, e, 1) for e, s in with_bug), len(with_bug)),
        at_3=wilson(sum(_found(s, e, 3) for e, s in with_bug), len(with_bug)),
        chance=float(np.mean(chances)) if chances else math.nan,
        false_alarms=wilson(int(reported[~truth].sum()), int((~truth).sum())),
        caught=wilson(int(reported[truth].sum()), int(truth.sum())),
        calibration_error=calibration_error(alarm, truth),
        findings=mean_interval([len(s.found(scorer.threshold)) for s in scores]),
        discrimination=auc(alarm, truth),
    )


def _found(scores: LineScores, example: KnownBug, among: int) -> bool:
    return bool(set(scores.order()[:among].tolist()) & set(example.lines))


def _nats(logits: np.ndarray, example: KnownBug) -> float:
    """-log of the probability on the right answers, of (L + 1,) logits."""
    right = [line - 1 for line in example.lines] or [len(logits) - 1]
    return float(np.logaddexp.reduce(logits) - np.logaddexp.reduce(logits[right]))


# ---------------------------------------------------------------- the training


class _Trainer:
    def __init__(self, lm: LanguageModel, examples: Sequence[KnownBug], config: LineConfig) -> None:
        self.config, self.step = config, 0
        layers = lm.decoder.spec.layers
        first = config.first_layer + (layers if config.first_layer < 0 else 0)
        shape = AdapterConfig(rank=config.rank, alpha=config.alpha, first_layer=first)
        adapted = replace(lm, adapter=Adapter(lm.decoder, shape, config.seed).to(lm.decoder.device), _fingerprint="")  # type: ignore[arg-type]
        self.scorer = new_line_scorer(adapted, config.seed)
        self.examples, self.readings = self._fitting(examples)
        self.order = [
            batch
            for epoch in range(config.epochs)
            for order in [np.random.default_rng([config.seed, epoch]).permutation(len(self.examples))]
            for batch in np.array_split(order, max(1, math.ceil(len(order) / config.batch)))
        ]
        self.steps = len(self.order)
        self.parameters = [*adapted.trainable(), self.scorer.head]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": self.parameters[:-1], "full_lr": config.learning_rate},
                {"params": self.parameters[-1:], "full_lr": config.head_learning_rate},
            ],
            weight_decay=0.0,
        )
        digest = hashlib.sha256()
        for e in self.examples:
            digest.update(f"{e.code}\0{e.lines}\0".encode())
        kept = {k: v for k, v in asdict(config).items() if k not in ("checkpoint_every", "micro_tokens")}
        self.identity = {
            **kept,
            "examples": digest.hexdigest(),
            "base model": replace(lm, _fingerprint="").fingerprint(),
        }

    def _fitting(self, examples: Sequence[KnownBug]) -> tuple[list[KnownBug], list[Reading]]:
        kept, readings = [], []
        for e in examples:
            count = e.code.count("\n") + 1
            if any(not 1 <= line <= count for line in e.lines):
                raise InputError(f"an example of {count} lines has its bug in lines {e.lines}; lines count from 1.")
            reading = self.scorer.read(e.code)
            if len(reading.tokens) <= self.config.max_tokens:
                kept.append(e)
                readings.append(reading)
        if not kept:
            raise InputError(
                f"none of {len(examples)} examples fits {self.config.max_tokens} tokens; give some that do."
            )
        if len(kept) < len(examples):
            left = len(examples) - len(kept)
            warnings.warn(
                f"{left} of {len(examples)} examples are longer than {self.config.max_tokens} tokens and left out.",
                stacklevel=4,
            )
        return kept, readings

    def update(self) -> LineStep:
        batch, config = self.order[self.step].tolist(), self.config
        rising = config.warmup * self.steps
        factor = min(
            (self.step + 1) / rising if rising else 1.0, (self.steps - self.step) / max(1.0, self.steps - rising)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * factor
        self.optimiser.zero_grad()
        total, right, tokens = 0.0, 0, 0
        for part in split_by_budget([len(self.readings[i].tokens) for i in batch], config.micro_tokens):
            own = [batch[k] for k in part]
            packed = pack([self.readings[i].tokens for i in own])
            rows = self.scorer.logits(packed, [self.readings[i] for i in own])
            losses = [self._loss(row, self.examples[i]) for row, i in zip(rows, own, strict=True)]
            loss = torch.stack([value for value, _ in losses]).sum() / len(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
            right += sum(hit for _, hit in losses)
            tokens += packed.tokens
        norm = float(nn.utils.clip_grad_norm_(self.parameters, config.max_grad_norm))
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise InputError(
                f"training stopped at update {self.step + 1}: loss {total}, gradient norm {norm}; lower learning_rate ({config.learning_rate})."
            )
        self.optimiser.step()
        self.scorer.lm.refresh()
        self.step += 1
        return LineStep(self.step, self.steps, total, right / len(batch), tokens, 0.0)

    def _loss(self, logits: Tensor, example: KnownBug) -> tuple[Tensor, bool]:
        """Nats, and whether the likeliest answer was right."""
        blank = [k for k, line in enumerate(example.code.split("\n")) if not line.strip()]
        if blank:
            logits = logits.index_fill(0, torch.tensor(blank, device=logits.device), BLANK)
        right = [line - 1 for line in example.lines] or [len(logits) - 1]
        hit = int(logits.detach().argmax()) in right
        return logits.logsumexp(0) - logits[right].logsumexp(0), hit

    def state(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "step": self.step,
            "parameters": [p.detach() for p in self.parameters],
            "optimiser": self.optimiser.state_dict(),
        }

    @torch.no_grad()
    def resume(self, folder: Path) -> None:
        found = load_checkpoint(folder)
        if found is None:
            return
        state, path, passed = found
        for sentence in passed:
            warnings.warn(sentence, stacklevel=3)
        if state["identity"] != self.identity:
            differs = [k for k in self.identity if state["identity"].get(k) != self.identity[k]]
            raise InputError(
                f"checkpoint {path} belongs to another run ({', '.join(differs)} differ); use another folder."
            )
        for mine, stored in zip(self.parameters, state["parameters"], strict=True):
            mine.copy_(stored)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.scorer.lm.refresh()
