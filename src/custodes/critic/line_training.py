"""Teaching a model where bugs are, from code whose bugs are known.

Every line is asked by itself whether it is wrong. So several bugs in one copy of a function teach several times as much in
the same pass (as in arXiv 2003.10555, for tokens). Each pass draws other bugs of the same functions. The loss of a function
is the sum over its lines of -log of the probability of what is so. Over wrong lines -log of the probability of the bug's
kind is added: the kind is what the reviewer is then told. No padding: functions are packed, and the gradient
is that of the batch whatever the micro-batches.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from custodes.critic.families import Family, KnownBug, clusters
from custodes.critic.lines import LineScorer, LineScores, LineShape, Reading, ScoresLines, new_line_scorer
from custodes.critic.suspicions import SUSPICIONS
from custodes.lm.loading import LanguageModel
from custodes.lm.packing import PackedBatch, pack, split_by_budget
from custodes.ranges import Count, PartShare, Positive, ranged
from custodes.stats import Interval, auc, calibration_error, mean_interval, rate
from custodes.train import Metrics, OnStep, Trainer, learning_rate_factor, orders, parameter_groups
from custodes.types import InputError

ROUNDING = 1e-9
"""More than what computing a probability in another order changes."""
WEIGHT_DECAY, BETAS = 0.01, (0.9, 0.98)
"""AdamW's: decay of matrices, and how long it averages."""
KIND_WEIGHT = 0.3
"""Weight of telling kinds of bugs apart, beside finding them."""
LINE_TITLES = {
    "at_1": "likeliest line is the bug's",
    "at_3": "one of the three likeliest is",
    "per_bug": "bugs, each by itself, among the three likeliest",
    "chance": "a blind guess would be",
    "caught": "tampered functions reported",
    "false_alarms": "clean functions reported",
    "findings": "lines reported for a function",
    "discrimination": "tampered told from clean (area under ROC)",
    "calibration_error": "calibration error of a bug anywhere",
}
"""What is measured of a scorer of lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class LineConfig:
    """How a line scorer is trained."""

    shape: LineShape = field(default_factory=LineShape)
    """What it is made of."""
    passes: Count = 8
    """Passes over the functions; each draws other bugs."""
    clean: float = 0.15
    """Share of the examples that hold no bug."""
    alone: float = 0.4
    """Share that are drawn with a single bug; the others get several."""
    batch: Count = 32
    """Examples per update."""
    learning_rate: Positive = 1.5e-3
    """Of the reader."""
    adapter_learning_rate: Positive = 4e-4
    """Of the adapter."""
    warmup: PartShare = 0.05
    """Share of the updates over which learning rates rise from 0; afterwards they fall linearly to 0."""
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm, those of each model on their own."""
    max_code_tokens: Count = 512
    """Functions with more tokens are left out of training."""
    micro_tokens: Count = 4096
    """Tokens per forward and backward pass."""
    checkpoint_every: Count = 50
    """Updates between checkpoints."""
    seed: int = 0
    """Decides initialisation, order, and which bugs are drawn."""

    def __post_init__(self) -> None:
        if not (self.clean >= 0 and self.alone >= 0 and self.clean + self.alone <= 1):
            raise InputError(f"clean ({self.clean}) and alone ({self.alone}) are shares that add up to at most 1.")


@dataclass(frozen=True, slots=True)
class LineEvaluation:
    """How well the lines are found, by functions."""

    at_1: Interval
    """Tampered functions whose likeliest line is one of the bug's."""
    at_3: Interval
    """One of the bug's lines is among the three likeliest."""
    per_bug: Interval
    """Of bugs that stand apart in a function, each by itself, those with a line among the three likeliest."""
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
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        chance = None if math.isnan(self.chance) else self.chance
        return {name: value.to_dict() for name, value in values.items() if name != "chance"} | {"chance": chance}

    def __str__(self) -> str:
        values = {name: getattr(self, name) for name in LINE_TITLES} | {"chance": f"{self.chance:.3g}"}
        return "\n".join(f"  {LINE_TITLES[name]:<43}{value}" for name, value in values.items())


def train_lines(
    lm: LanguageModel,
    families: Sequence[Family],
    config: LineConfig | None = None,
    *,
    checkpoints: Path | None = None,
    on_step: OnStep | None = None,
    progress: bool = True,
) -> LineScorer:
    """Train a scorer of lines; the same seed and options give the same weights.

    ``lm`` stays as it is. Where ``checkpoints`` holds one of this very run, it is continued. A step's metrics are ``loss``
    (nats per function), ``right`` (share of the functions with a bug whose likeliest line was one of its, before the
    update), ``grad_norm`` and ``tokens``.

    Raises InputError: no function that fits; a loss that is not finite; checkpoints of another run.
    """
    config = config or LineConfig()
    named = {kind for f in families for kind in (*(c.kind for c in f.changes), *(k for r in f.rows for k in r.kinds))}
    scorer = new_line_scorer(lm, config.shape, sorted(named - {""}), config.seed)
    scorer.messages = {kind: SUSPICIONS.get(kind, "") for kind in scorer.kinds}
    families = _fitting(scorer, families, config.max_code_tokens)
    adapter = scorer.adapter
    trainer = Trainer(
        [*parameter_groups(adapter.parameters() if adapter else (), config.adapter_learning_rate, WEIGHT_DECAY),
         *parameter_groups(scorer.reader.parameters(), config.learning_rate, WEIGHT_DECAY)],
        refresh=adapter.refresh if adapter else lambda: None,
        max_grad_norm=config.max_grad_norm,
        betas=BETAS,
    )  # fmt: skip
    batches = [
        [(epoch, int(i)) for i in batch]
        for epoch, order in enumerate(orders(len(families), config.passes, config.seed))
        for batch in np.array_split(order, math.ceil(len(order) / config.batch))
    ]
    objective, warmup = _LineObjective(scorer, families, config), config.warmup * len(batches)

    def identity() -> dict[str, Any]:
        kept = {k: v for k, v in asdict(config).items() if k not in ("checkpoint_every", "micro_tokens")}
        functions = hashlib.sha256(repr(families).encode()).hexdigest()
        return {**kept, "functions": functions, "base model": scorer.lm.fingerprint()}

    trainer.run(
        len(batches),
        lambda i: trainer.step(objective, batches[i], learning_rate_factor(i, len(batches), warmup, warmup, "linear")),
        title="critic training",
        identity=identity,
        rows="functions",
        named=lambda i: (families[i].code or families[i].rows[0].code).split("\n")[0],
        checkpoints=checkpoints,
        every=config.checkpoint_every,
        keep_end=True,
        on_step=on_step,
        progress=progress,
        shown={"loss": "loss", "right": "right"},
    )
    with torch.no_grad():  # the reader is kept in half precision: what is calibrated is what is loaded
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
    old, before = scorer.temperature, scorer.level
    logs = [old * (np.log(np.maximum(s.lines, 1e-30)) - math.log(max(s.none, 1e-30))) + before for s in plain]

    def rows(temperature: float, level: float) -> list[NDArray[np.float64]]:
        return [np.append(row, level) / temperature for row in logs]

    def loss(values: NDArray[np.float64]) -> float:
        each = rows(math.exp(values[0]), values[1])
        right = [[line - 1 for line in e.lines] or [len(row) - 1] for row, e in zip(each, examples, strict=True)]
        pairs = zip(each, right, strict=True)
        nats = sum(np.logaddexp.reduce(row) - np.logaddexp.reduce(row[own]) for row, own in pairs)
        # a prior, so that few examples do not make it sure: as training left it, by a factor of 2 and by 5 log-odds
        return nats + 0.5 * (values[0] / math.log(2)) ** 2 + 0.5 * ((values[1] - before) / 5) ** 2

    best = minimize(loss, (0.0, before), method="Nelder-Mead", bounds=((-3, 3), (-30, 30))).x
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
    with_bug = [(set(e.lines), s.order().tolist(), e.code) for e, s in zip(examples, scores, strict=True) if e.lines]
    every_bug = [
        (f, bug, set(order[:3]))
        for f, (lines, order, _) in zip(of_bugs, with_bug, strict=True)
        for bug in _apart(lines)
    ]
    alarm = np.array([1 - s.none for s in scores])
    truth = np.array([bool(e.lines) for e in examples])
    reported = alarm >= scorer.threshold
    chances = [len(lines) / max(1, sum(map(bool, map(str.strip, code.split("\n"))))) for lines, _, code in with_bug]
    return LineEvaluation(
        at_1=rate([not lines.isdisjoint(order[:1]) for lines, order, _ in with_bug], of_bugs),
        at_3=rate([not lines.isdisjoint(order[:3]) for lines, order, _ in with_bug], of_bugs),
        per_bug=rate([not bug.isdisjoint(likeliest) for _, bug, likeliest in every_bug], [f for f, *_ in every_bug]),
        chance=float(np.mean(chances)) if chances else math.nan,
        false_alarms=rate(reported[~truth], of_clean),
        caught=rate(reported[truth], of_bugs),
        calibration_error=calibration_error(alarm, truth, clusters=functions),
        findings=mean_interval([len(s.found(scorer.threshold)) for s in scores], functions),
        discrimination=auc(alarm, truth, functions),
    )


def _apart(lines: set[int]) -> list[set[int]]:
    """Groups of neighbouring lines: bugs that stand apart."""
    found: list[set[int]] = []
    for line in sorted(lines):
        if found and line - 1 in found[-1]:
            found[-1].add(line)
        else:
            found.append({line})
    return found


# ---------------------------------------------------------------- the training


class _LineObjective:
    """A batch is functions, each with the pass that draws its bugs; a micro-batch, their numbers in it and readings, packed."""

    def __init__(self, scorer: LineScorer, families: Sequence[Family], config: LineConfig) -> None:
        self.scorer, self.families, self.config = scorer, families, config

    def micro_batches(self, batch: Sequence[tuple[int, int]]) -> list[tuple[list[int], list[Reading], PackedBatch]]:
        config = self.config
        self.batch = batch
        self.drawn = [self.families[i].draw(f"{config.seed} {n} {i}", config.clean, config.alone) for n, i in batch]
        readings = [self.scorer.read(e.code) for e in self.drawn]
        self.total, self.right, self.tokens = 0.0, 0, 0
        parts = []
        for part in split_by_budget([len(r.tokens) for r in readings], config.micro_tokens):
            own = [readings[i] for i in part]
            parts.append((part, own, pack([r.tokens for r in own])))
        return parts

    def loss(self, micro: tuple[list[int], list[Reading], PackedBatch]) -> Tensor:
        part, readings, packed = micro
        states = self.scorer.states(packed, readings)
        losses = [self._of(s, self.drawn[i]) for s, i in zip(states, part, strict=True)]
        loss = torch.stack([value for value, _ in losses]).sum() / len(self.drawn)
        self.total += float(loss.detach())
        self.right += sum(hit for _, hit in losses)
        self.tokens += packed.tokens
        return loss

    def rows(self, micro: tuple[list[int], list[Reading], PackedBatch]) -> list[int]:
        return [self.batch[i][1] for i in micro[0]]

    def metrics(self) -> Metrics:
        with_bug = sum(bool(e.lines) for e in self.drawn)
        return {"loss": self.total, "right": self.right / max(1, with_bug), "tokens": float(self.tokens)}

    def _of(self, states: Tensor, example: KnownBug) -> tuple[Tensor, bool]:
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


def _fitting(scorer: LineScorer, families: Sequence[Family], most: int) -> list[Family]:
    """Families without the codes of more than ``most`` tokens; those of which nothing is left are left out."""

    def fits(code: str) -> bool:
        return len(scorer.read(code).tokens) <= most

    kept = []
    for family in families:
        for row in family.rows:
            count = row.code.count("\n") + 1
            if any(not 1 <= line <= count for line in row.lines):
                raise InputError(f"an example of {count} lines has its bug in lines {row.lines}; lines count from 1.")
        rows = tuple(r for r in family.rows if fits(r.code))
        if rows or (family.code and fits(family.code)):
            kept.append(replace(family, rows=rows))
    if not kept:
        raise InputError(f"none of {len(families)} functions fits {most} tokens; give some that do.")
    if len(kept) < len(families):
        left = len(families) - len(kept)
        warnings.warn(f"{left} of {len(families)} functions are longer than {most} tokens and left out.", stacklevel=3)
    return kept
