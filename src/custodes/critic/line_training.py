"""Teaching a model where bugs are, from code whose bugs are known.

Every line is asked by itself whether it is wrong, so several bugs in one copy of a function teach several times as much
in the same pass (as in arXiv 2003.10555, for tokens). Each pass draws other bugs of the same functions. The loss of a
function is the sum over its lines of -log of the probability of what is so, and over wrong lines of -log of the
probability of the bug's kind, which is what the reviewer is then told. No padding: functions are packed, and the gradient
is that of the batch whatever the micro-batches.
"""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from custodes.critic.families import Family, KnownBug, clusters
from custodes.critic.lines import LineScorer, LineScores, LineShape, ScoresLines, new_line_scorer
from custodes.critic.suspicions import SUSPICIONS
from custodes.lm import LanguageModel, pack, split_by_budget
from custodes.lm.checkpoint import load_own_checkpoint, save_checkpoint
from custodes.lm.decoder import optimiser_groups
from custodes.ranges import Count, PartShare, Positive, ranged
from custodes.stats import Interval, auc, calibration_error, mean_interval, rate
from custodes.types import InputError

ROUNDING = 1e-9
"""More than what computing a probability in another order changes."""
WEIGHT_DECAY = 0.01
"""AdamW's, of matrices."""
KIND_WEIGHT = 0.3
"""Weight of telling kinds of bugs apart, beside finding them."""


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class LineConfig:
    """How a line scorer is trained."""

    shape: LineShape = field(default_factory=LineShape)
    """What it is made of."""
    passes: Count = 8
    """Passes over the functions; each draws other bugs."""
    clean: float = 0.15
    """Share of functions that are drawn without a bug."""
    alone: float = 0.4
    """Share that are drawn with a single bug; the others get several."""
    batch: Count = 32
    """Functions per update."""
    learning_rate: Positive = 1.5e-3
    """Of the reader."""
    adapter_learning_rate: Positive = 4e-4
    """Of the adapter."""
    warmup: PartShare = 0.05
    """Share of the updates over which learning rates rise from 0; afterwards they fall linearly to 0."""
    max_grad_norm: Positive = 1.0
    """The gradient is scaled down to this norm."""
    max_tokens: Count = 512
    """Functions with more tokens are left out of training."""
    micro_tokens: Count = 4096
    """Tokens per forward and backward pass."""
    checkpoint_every: Count = 50
    """Updates between checkpoints, where a folder for them is given."""
    seed: int = 0
    """Decides initialisation, order, and which bugs are drawn."""

    def __post_init__(self) -> None:
        if not (self.clean >= 0 and self.alone >= 0 and self.clean + self.alone <= 1):
            raise InputError(f"clean ({self.clean}) and alone ({self.alone}) are shares that add up to at most 1.")


@dataclass(frozen=True, slots=True)
class LineStep:
    """What one update did."""

    step: int  # from 1
    steps: int
    loss: float  # nats per function
    right: float  # share of those with a bug whose likeliest line was one of its, before the update
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
        chance = None if math.isnan(self.chance) else self.chance
        return {name: getattr(self, name).to_dict() for name in intervals} | {"chance": chance}


OnStep = Callable[[LineStep], None]


def train_lines(
    lm: LanguageModel,
    families: Sequence[Family],
    config: LineConfig | None = None,
    *,
    checkpoints: Path | None = None,
    on_step: OnStep | None = None,
) -> LineScorer:
    """Train a scorer of lines; the same seed and options give the same weights.

    ``lm`` stays as it is. Where ``checkpoints`` holds one of this very run, it is continued.
    Raises InputError: no function that fits; a loss that is not finite; checkpoints of another run.
    """
    trainer = _Trainer(lm, families, config or LineConfig())
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
    return _as_saved(trainer.scorer)


@torch.no_grad()
def _as_saved(scorer: LineScorer) -> LineScorer:
    """The reader rounded to half precision, as it is kept: what is calibrated is what is loaded."""
    for parameter in scorer.reader.parameters():
        parameter.copy_(parameter.half())
    return scorer


def calibrate_lines(
    scorer: ScoresLines,
    examples: Sequence[KnownBug],
    false_alarms: float = 0.1,
    scores: Sequence[LineScores] | None = None,
) -> None:
    """Find the temperature and the level that make ``examples``, which training did not see, most likely, and the threshold
    from which at most the share ``false_alarms`` of the clean ones is reported.

    ``scores`` are what the scorer says of them as it is, where that is known. Raises InputError without clean examples.
    """
    clean = np.array([not e.lines for e in examples])
    if not clean.any() or clean.all():
        raise InputError("to calibrate, both clean functions and functions with known bugs are needed.")
    plain = scorer.scores([e.code for e in examples]) if scores is None else scores
    logs = [
        scorer.temperature * (np.log(np.maximum(s.lines, 1e-30)) - math.log(max(s.none, 1e-30))) + scorer.level
        for s in plain
    ]

    before = scorer.level

    def rows(temperature: float, level: float) -> list[NDArray[np.float64]]:
        return [np.append(row, level) / temperature for row in logs]

    def loss(values: NDArray[np.float64]) -> float:
        each = rows(math.exp(values[0]), values[1])
        nats = sum(_nats(row, e) for row, e in zip(each, examples, strict=True))
        # a prior, so that few examples do not make it sure: as training left it, by a factor of 2 and by 5 log-odds
        return nats + 0.5 * (values[0] / math.log(2)) ** 2 + 0.5 * ((values[1] - before) / 5) ** 2

    best = minimize(loss, (0.0, scorer.level), method="Nelder-Mead", bounds=((-3, 3), (-30, 30))).x
    scorer.temperature, scorer.level = math.exp(best[0]), float(best[1])
    each = rows(scorer.temperature, scorer.level)
    alarms = sorted(1 - math.exp(row[-1] - np.logaddexp.reduce(row)) for row, c in zip(each, clean, strict=True) if c)
    allowed = int(false_alarms * len(alarms))
    last = len(alarms) - 1 - allowed
    scorer.threshold = alarms[last] + ROUNDING if last >= 0 else 0.0


def evaluate_lines(
    scorer: ScoresLines, examples: Sequence[KnownBug], scores: Sequence[LineScores] | None = None
) -> LineEvaluation:
    """Localisation, alarms and calibration with 95 % intervals, which count functions. ``scores`` are what the scorer says
    of them, where that is known."""
    scores = scorer.scores([e.code for e in examples]) if scores is None else scores
    functions = clusters([e.function for e in examples])
    of_bugs = [function for function, e in zip(functions, examples, strict=True) if e.lines]
    of_clean = [function for function, e in zip(functions, examples, strict=True) if not e.lines]
    with_bug = [(e, s) for e, s in zip(examples, scores, strict=True) if e.lines]
    alarm = np.array([1 - s.none for s in scores])
    truth = np.array([bool(e.lines) for e in examples])
    reported = alarm >= scorer.threshold
    chances = [len(set(e.lines)) / max(1, sum(bool(line.strip()) for line in e.code.split("\n"))) for e, _ in with_bug]
    return LineEvaluation(
        at_1=rate([_found(s, e, 1) for e, s in with_bug], of_bugs),
        at_3=rate([_found(s, e, 3) for e, s in with_bug], of_bugs),
        chance=float(np.mean(chances)) if chances else math.nan,
        false_alarms=rate(reported[~truth], of_clean),
        caught=rate(reported[truth], of_bugs),
        calibration_error=calibration_error(alarm, truth, clusters=functions),
        findings=mean_interval([len(s.found(scorer.threshold)) for s in scores], functions),
        discrimination=auc(alarm, truth, functions),
    )


def _found(scores: LineScores, example: KnownBug, among: int) -> bool:
    return bool(set(scores.order()[:among].tolist()) & set(example.lines))


def _nats(logits: NDArray[np.float64], example: KnownBug) -> float:
    """-log of the probability on the right answers, of (L + 1,) logits."""
    right = [line - 1 for line in example.lines] or [len(logits) - 1]
    return float(np.logaddexp.reduce(logits) - np.logaddexp.reduce(logits[right]))


# ---------------------------------------------------------------- the training


class _Trainer:
    def __init__(self, lm: LanguageModel, families: Sequence[Family], config: LineConfig) -> None:
        self.config, self.step = config, 0
        named = {
            kind for f in families for kind in (*(c.kind for c in f.changes), *(k for r in f.rows for k in r.kinds))
        }
        self.scorer = new_line_scorer(lm, config.shape, sorted(named - {""}), config.seed)
        self.scorer.messages = {kind: SUSPICIONS.get(kind, "") for kind in self.scorer.kinds}
        self.families = self._fitting(families)
        self.order = [
            [(number, int(i)) for i in batch]
            for number in range(config.passes)
            for order in [np.random.default_rng([config.seed, number]).permutation(len(self.families))]
            for batch in np.array_split(order, max(1, math.ceil(len(order) / config.batch)))
        ]
        self.steps = len(self.order)
        self.parameters = self.scorer.parameters()
        adapter = list(self.scorer.adapter.parameters()) if self.scorer.adapter is not None else []
        reader = list(self.scorer.reader.parameters())
        groups = [
            *optimiser_groups(adapter, config.adapter_learning_rate, WEIGHT_DECAY),
            *optimiser_groups(reader, config.learning_rate, WEIGHT_DECAY),
        ]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        kept = {k: v for k, v in asdict(config).items() if k not in ("checkpoint_every", "micro_tokens")}
        self.identity = {
            **kept,
            "functions": hashlib.sha256(repr(self.families).encode()).hexdigest(),
            "base model": self.scorer.lm.fingerprint(),
        }

    def _fitting(self, families: Sequence[Family]) -> list[Family]:
        kept = []
        for family in families:
            for row in family.rows:
                count = row.code.count("\n") + 1
                if any(not 1 <= line <= count for line in row.lines):
                    raise InputError(
                        f"an example of {count} lines has its bug in lines {row.lines}; lines count from 1."
                    )
            rows = tuple(r for r in family.rows if self._fits(r.code))
            if rows or (family.code and self._fits(family.code)):
                kept.append(replace(family, rows=rows))
        if not kept:
            raise InputError(
                f"none of {len(families)} functions fits {self.config.max_tokens} tokens; give some that do."
            )
        if len(kept) < len(families):
            left = len(families) - len(kept)
            warnings.warn(
                f"{left} of {len(families)} functions are longer than {self.config.max_tokens} tokens and left out.",
                stacklevel=4,
            )
        return kept

    def _fits(self, code: str) -> bool:
        return len(self.scorer.read(code).tokens) <= self.config.max_tokens

    def update(self) -> LineStep:
        config = self.config
        drawn = [
            self.families[i].draw(f"{config.seed} {number} {i}", config.clean, config.alone)
            for number, i in self.order[self.step]
        ]
        readings = [self.scorer.read(e.code) for e in drawn]
        rising = config.warmup * self.steps
        factor = min(
            (self.step + 1) / rising if rising else 1.0, (self.steps - self.step) / max(1.0, self.steps - rising)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * factor
        self.optimiser.zero_grad()
        total, right, tokens = 0.0, 0, 0
        for part in split_by_budget([len(r.tokens) for r in readings], config.micro_tokens):
            own = [readings[i] for i in part]
            packed = pack([r.tokens for r in own])
            states = self.scorer.states(packed, own)
            losses = [self._loss(of_lines, drawn[i]) for of_lines, i in zip(states, part, strict=True)]
            loss = torch.stack([value for value, _ in losses]).sum() / len(drawn)
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
        self._refresh()
        self.step += 1
        with_bug = sum(bool(e.lines) for e in drawn)
        return LineStep(self.step, self.steps, total, right / max(1, with_bug), tokens, 0.0)

    def _loss(self, states: Tensor, example: KnownBug) -> tuple[Tensor, bool]:
        """Nats of a function with line states (L, h), and whether its likeliest line is one of the bug's."""
        reader, device = self.scorer.reader, states.device
        wrong = torch.tensor([line - 1 for line in example.lines], dtype=torch.int64, device=device)
        said = torch.tensor([bool(line.strip()) for line in example.code.split("\n")], device=device)
        logits = reader.line(states)[:, 0]
        truth = torch.zeros_like(logits).index_fill(0, wrong, 1.0)
        loss = F.binary_cross_entropy_with_logits(logits[said], truth[said], reduction="sum")
        kinds = [self.scorer.kinds.index(kind) if kind else -100 for kind in example.kinds]
        if any(kind >= 0 for kind in kinds):
            target = torch.tensor(kinds, device=device)
            loss = loss + KIND_WEIGHT * F.cross_entropy(reader.kind(states[wrong]), target, reduction="sum")
        likeliest = int(torch.where(said, logits.detach(), -torch.inf).argmax()) + 1
        return loss, likeliest in example.lines

    def _refresh(self) -> None:
        if self.scorer.adapter is not None:
            self.scorer.adapter.refresh()

    def state(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "step": self.step,
            "parameters": [p.detach() for p in self.parameters],
            "optimiser": self.optimiser.state_dict(),
        }

    @torch.no_grad()
    def resume(self, folder: Path) -> None:
        state = load_own_checkpoint(folder, self.identity)
        if state is None:
            return
        for mine, stored in zip(self.parameters, state["parameters"], strict=True):
            mine.copy_(stored)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self._refresh()
