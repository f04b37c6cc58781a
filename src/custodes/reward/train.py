"""Reward models, single or ensembles, trained on what people judged.

What is judged is a lesson (``objective.py``): some readings of scores and what they should say. How this differs from the
textbook: Nothing is padded. All lessons of one prompt are learned in one update, which computes their prompt and each of
their replies once, however many judgments a reply takes part in (as in arXiv 2203.02155, section 3.5). Heads read only
the tokens that lessons speak of. All axes are rows of one product. All members of an ensemble learn in one run from the
same micro-batches, each with its own initialisation and the lessons of its own bootstrap resample (as weights). Layers
below the adapters run once for all members and, where there are several epochs, once for all epochs.

Letters: N lessons, M readings of a micro-batch, S distinct replies, K members, O outputs, d hidden size.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custodes.lm.adapter import Adapter, AdapterConfig, merged
from custodes.lm.decoder import Decoder, Weight
from custodes.lm.loading import LanguageModel
from custodes.lm.packing import PackedBatch, pack
from custodes.reward.config import RewardConfig
from custodes.reward.model import OVERALL, RewardModel, new_heads
from custodes.reward.objective import Course, Floats, LessonBatch
from custodes.reward.objectives.pairs import Pairs
from custodes.reward.prompts import Prompts
from custodes.reward.reading import Reader, micro_batches
from custodes.train import (
    Metrics,
    OnStep,
    Trainer,
    gradients_of,
    learning_rate_factor,
    parameter_groups,
    shuffled_batches,
)
from custodes.types import InputError, PreferencePair

STANDARDISE_ON = 256
"""Lessons whose scores give the mean and standard deviation by which scores are standardised."""


def train_reward(
    lm: LanguageModel,
    pairs: Sequence[PreferencePair],
    config: RewardConfig | None = None,
    *,
    axes: Sequence[str] = (OVERALL,),
    weights: Floats | None = None,
    objective: Pairs | None = None,
    source: str = "",
    **run: Any,
) -> RewardModel:
    """Train a reward model on ``pairs``; the same seed and configuration give the same weights, bit for bit.

    ``source`` names the pairs' file in messages. Pairs' ``label``, ``margin`` and ``weight`` are used (weights relative to
    their mean). With several ``axes`` (O), ``weights`` (P, O) say how much each pair teaches each axis, in place of the
    pairs' own. ``run`` and what is raised: see :func:`teach_reward`; also InputError where there is no pair.
    """
    config = config or RewardConfig()
    if not pairs:
        raise InputError(f"{source or 'the preferences'} hold no pair to train on; give at least one.")
    reader = Reader(lm, config.max_length)
    read, cut = reader.pairs(pairs, source)
    if cut:
        warnings.warn(
            f"{source or 'preferences'}: {cut} of {len(pairs)} pairs are longer than {reader.max_length} tokens; "
            "the left of their prompts was not read.",
            stacklevel=2,
        )
    objective = objective or Pairs()
    lessons = objective.of_pairs(pairs, read, weights)
    return teach_reward(lm, [Course(objective, lessons)], config, axes=axes, **run)


def teach_reward(
    lm: LanguageModel,
    courses: Sequence[Course],
    config: RewardConfig,
    *,
    axes: Sequence[str] = (OVERALL,),
    marks: Sequence[str] = (),
    checkpoints: Path | None = None,
    on_step: OnStep | None = None,
    progress: bool = True,
) -> RewardModel:
    """Train a reward model with an output for each of ``axes`` and ``marks`` on the lessons of all ``courses`` at once.

    The loss is the mean of all lessons' negative log-likelihoods. ``lm`` is the backbone, without its own adapter; with
    ``full`` its weights are changed in place. Where ``checkpoints`` holds one of this very run, it is continued.

    A step's metrics: ``loss``, nats per lesson, the mean over members. ``accuracy``, the share of the update's lessons
    with which the members' mean agrees before it, where lessons can be agreed with. ``grad_norm``, the largest of the
    members', before clipping. ``tokens``, computed forward and backward.

    Raises InputError: weights that do not fit; checkpoints of another run. Raises :class:`custodes.train.Diverged` for a
    loss that is not finite.
    """
    model = _new_model(replace(lm, adapter=None), config, tuple(axes), tuple(marks))
    training = _Training(model, courses, config)
    trainer = Trainer(
        [*parameter_groups(training.backbone, config.learning_rate, config.weight_decay),
         *parameter_groups([model.heads, *training.own], config.head_learning_rate)],
        refresh=training.refresh,
        max_grad_norm=config.max_grad_norm,
        parts=training.parts,
    )  # fmt: skip
    batches = shuffled_batches(
        [len(own) for own in training.prompts.lessons], config.batch_pairs, config.epochs, config.seed, 0
    )
    warmup = config.warmup * len(batches)

    def step(i: int) -> Metrics:
        factor = learning_rate_factor(i, len(batches), warmup, warmup, "linear")
        return trainer.step(training, batches[i], factor)

    trainer.run(
        len(batches),
        step,
        title="reward training",
        identity=training.identity,
        rows="judgments",
        named=lambda i: training.lessons[i].where,
        checkpoints=checkpoints,
        every=config.checkpoint_every,
        on_step=on_step,
        progress=progress,
        shown={"loss": "loss", "accuracy": "accuracy"},
    )
    return training.standardised()


class _Training:
    """The loss of all members on the lessons of some prompts.

    A micro-batch is whole prompts: their numbers, and their sequences packed.
    """

    def __init__(self, model: RewardModel, courses: Sequence[Course], config: RewardConfig) -> None:
        self.model, self.courses, self.config = model, courses, config
        self.lessons = [lesson for course in courses for lesson in course.lessons]
        self.course = [number for number, course in enumerate(courses) for _ in course.lessons]
        self.prompts, self.weights = Prompts.of(self.lessons), self._lesson_weights()
        self.own = [parameter for course in courses for parameter in course.objective.parameters()]
        decoder, self.embedding = model.lm.decoder, None
        if not config.full:
            self.backbone: list[nn.Parameter] = [p for adapter in model.adapters for p in adapter.parameters()]
        elif not isinstance(decoder, Decoder):  # an architecture that transformers runs: plain gradients
            self.backbone = decoder.train_all()
        else:  # the head over the vocabulary has no part in a reward and stays as it is
            weights = [m for m in decoder.modules() if isinstance(m, Weight) and m is not decoder.head]
            for weight in weights:
                weight.train_master()
            self.backbone = [w.master for w in weights if w.master is not None]
            self.embedding = _EmbeddingRows(decoder.embedding)
        tokens = sum(len(s) for group in self.prompts.sequences for s in group)
        size = tokens * decoder.spec.hidden * decoder.dtype.itemsize
        reused = bool(model.adapters) and model.first_layer > 0 and config.epochs > 1
        self.trunks: dict[int, Tensor] | None = {} if reused and size <= config.trunk_gb * 2**30 else None

    def micro_batches(self, batch: Sequence[int]) -> list[tuple[list[int], PackedBatch]]:
        sequences = [s for prompt in batch for s in self.prompts.sequences[prompt]]
        groups = [prompt for prompt in batch for _ in self.prompts.sequences[prompt]]
        parts = micro_batches(sequences, groups, self.config.micro_tokens)
        self.count = sum(len(self.prompts.lessons[prompt]) for prompt in batch)
        self.total, self.tokens = 0.0, sum(packed.tokens for _, packed in parts)
        self.agreed: list[float] = []
        return [(list(dict.fromkeys(groups[i] for i in part)), packed) for part, packed in parts]

    def loss(self, micro: tuple[list[int], PackedBatch]) -> Tensor:
        model, K, (inside, packed) = self.model, self.model.members, micro
        packed = packed.to(model.lm.decoder.device)
        wanted = self.prompts.tokens(inside, packed)
        if self.embedding is not None:
            values = model.values(packed, embedded=self.embedding(packed.ids), wanted=wanted)
        else:
            trunk = None if self.trunks is None else self._trunk(inside)
            values = model.values(packed, trunk=trunk, wanted=wanted)
        values = values.unflatten(-1, (K, -1))
        lessons, places = self.prompts.at(inside)
        loss = values.new_zeros(())
        for number, course in enumerate(self.courses):
            own = [n for n, i in enumerate(lessons) if self.course[i] == number]
            if not own:
                continue
            batch = self._collated([lessons[n] for n in own], [places[n] for n in own], values)
            loss = loss + course.objective.loss(values, batch)
            agreement = course.objective.agreement(values.detach(), batch)
            self.agreed += [] if agreement is None else agreement.tolist()
        loss = loss / self.count
        self.total += loss.item() / K
        return loss if len(model.adapters) == K else loss / K

    def rows(self, micro: tuple[list[int], PackedBatch]) -> list[int]:
        return [i for prompt in micro[0] for i in self.prompts.lessons[prompt]]

    def metrics(self) -> Metrics:
        agreed = {"accuracy": float(np.mean(self.agreed))} if self.agreed else {}
        return {"loss": self.total, **agreed, "tokens": float(self.tokens)}

    def parts(self) -> list[list[Tensor]]:
        """The gradients that are clipped apart: each member's, where members share nothing that learns."""
        model, (heads,) = self.model, gradients_of([self.model.heads])
        own, outputs = gradients_of(self.own), len(self.model.outputs)
        if len(model.adapters) == model.members:
            heads_of = heads.split(outputs)
            return [
                [*gradients_of(adapter.parameters()), heads_of[k], *(grad[k] for grad in own)]
                for k, adapter in enumerate(model.adapters)
            ]
        return [[*gradients_of(self.backbone), heads, *own]]

    def refresh(self) -> None:
        for adapter in self.model.adapters:
            adapter.refresh()
        self.model.lm.decoder.refresh()

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be continued."""
        digest = hashlib.sha256()
        for lesson in self.lessons:
            for sequence, token in lesson.readings:
                digest.update(sequence.tobytes() + b"|%d|" % token)
            digest.update(f"{lesson.target} {lesson.weight.tolist()}".encode())
        kept = {k: v for k, v in asdict(self.config).items() if k != "checkpoint_every"}
        objectives = [repr(course.objective) for course in self.courses]
        about = {"outputs": list(self.model.outputs), "objectives": objectives, "judgments": digest.hexdigest()}
        return {**kept, **about, "base model": self.model.lm.fingerprint()}

    def standardised(self) -> RewardModel:
        """The model; each head's mean on the training data becomes 0, its standard deviation 1.

        Where an objective knows which score means even odds, that score becomes 0 in place of the mean. An adapter that
        all heads share is merged first: the folder that ``transformers`` loads holds one backbone, and what is measured is
        what is saved.
        """
        model = self.model
        if len(model.adapters) == 1:
            model.lm = replace(model.lm, decoder=merged(model.lm.decoder, model.adapters[0]))
            model.adapters = []
        sample = np.random.default_rng([self.config.seed, 2]).permutation(len(self.lessons))[:STANDARDISE_ON]
        sequences = [s for i in sample for s, _ in self.lessons[i].readings]
        raw = model.raw_scores(sequences, [i for i in sample.tolist() for _ in self.lessons[i].readings])
        model.center, model.scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)
        model.center.reshape(model.members, -1)[:, len(model.axes) :] = 0.0  # marks keep their log-odds
        model.scale.reshape(model.members, -1)[:, len(model.axes) :] = 1.0
        for course in self.courses:
            for output, zero in course.objective.zeros().items():
                model.center[output :: len(model.outputs)] = zero
        of_axes = model.scale if not model.marks else model.scale.reshape(model.members, -1)[:, : len(model.axes)]
        model.temperature = float(1 / of_axes.mean()) if of_axes.size else 1.0  # the loss was in the heads' own logits
        model.learned_temperature = model.temperature
        return model

    def _collated(self, lessons: list[int], places: list[tuple[int, ...]], values: Tensor) -> LessonBatch:
        longest = max(map(len, places))
        at = torch.tensor([[*own, *[-1] * (longest - len(own))] for own in places], device=values.device)
        width = max(len(self.lessons[i].target) for i in lessons)
        target = [[*self.lessons[i].target, *[0.0] * (width - len(self.lessons[i].target))] for i in lessons]
        weight = self.weights[lessons].tolist()
        return LessonBatch(at, *(torch.tensor(c, dtype=values.dtype, device=values.device) for c in (target, weight)))

    def _lesson_weights(self) -> Floats:
        """(N, K, O): each lesson's own weights, relative to the mean, times how often each member's resample drew it."""
        own = np.stack([lesson.weight for lesson in self.lessons]).astype(np.float64)
        outputs = len(self.model.outputs)
        if own.shape[1] != outputs:
            raise InputError(f"weights of lessons for {own.shape[1]} outputs do not fit a reward of {outputs}.")
        n, K = len(self.lessons), self.config.members
        draws = np.ones((n, K))
        if K > 1 and self.config.bootstrap:
            for k in range(K):
                draws[:, k] = np.random.default_rng([self.config.seed, 1, k]).multinomial(n, np.full(n, 1 / n))
        return (own / own.sum(axis=1).mean())[:, None, :] * draws[:, :, None]

    @torch.no_grad()
    def _trunk(self, prompts: Sequence[int]) -> Tensor:
        """(N, d): what the layers below the adapters make of a pack of ``prompts``, the same in every epoch.

        Each prompt is computed on its own, so that a run resumed in any epoch finds the same numbers to the last bit.
        """
        assert self.trunks is not None
        decoder = self.model.lm.decoder
        for prompt in prompts:
            if prompt not in self.trunks:
                sequences = self.prompts.sequences[prompt]
                packed = pack(sequences, [0] * len(sequences)).to(decoder.device)
                self.trunks[prompt] = decoder.run(decoder.embed(packed), packed, 0, self.model.first_layer)
        return torch.cat([self.trunks[prompt] for prompt in prompts])


class _EmbeddingRows:
    """Embeddings of tokens whose gradient is written only at the rows at hand.

    Autograd would form a dense (V, d) gradient for every micro-batch: at V = 49,152 a fifth of the whole model.
    """

    def __init__(self, weight: Weight) -> None:
        self.weight = weight
        self.gradient = torch.zeros_like(weight().float())
        self.touched: list[Tensor] = []

    def __call__(self, ids: Tensor) -> Tensor:
        """(N, d) embeddings of ``ids`` (N,)."""
        assert self.weight.master is not None
        if self.weight.master.grad is not self.gradient:  # a new update begins
            for before in self.touched:
                self.gradient.index_fill_(0, before, 0.0)
            self.touched, self.weight.master.grad = [], self.gradient
        self.touched.append(ids)
        rows = F.embedding(ids, self.weight.value).requires_grad_()

        def add(grad: Tensor) -> None:
            self.gradient.index_add_(0, ids, grad.float())

        rows.register_hook(add)
        return rows


def _new_model(
    lm: LanguageModel, config: RewardConfig, axes: tuple[str, ...] = (OVERALL,), marks: tuple[str, ...] = ()
) -> RewardModel:
    spec, device = lm.decoder.spec, lm.decoder.device
    if not config.full and not isinstance(lm.decoder, Decoder):
        raise InputError(
            f"architecture {lm.config.model_type!r} cannot run with adapters; train all of its weights with full."
        )
    shape = AdapterConfig(rank=config.rank, alpha=config.alpha, first_layer=config.first_layer)
    count = 0 if config.full else config.members if config.ensemble == "adapters" else 1
    seeds = [int(s) for s in np.random.SeedSequence([config.seed, 3]).generate_state(config.members)]
    return RewardModel(
        lm=lm,
        heads=new_heads(seeds, spec.hidden, device, len(axes) + len(marks)),
        adapters=[Adapter(lm.decoder, shape, seeds[k]).to(device) for k in range(count)],
        combine=config.combine,
        caution=config.caution,
        max_length=config.max_length,
        axes=axes,
        marks=marks,
    )
