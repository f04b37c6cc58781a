"""The inside of a policy or a learned reward, probed for a concept: what ``custodes audit probe`` does.

Probes of every layer say where the concept can be read, beside a bag of words and labels that mean nothing. Half of the groups
then give a direction. On the other half it is ablated and steered by, beside random directions. What a layer or a direction
came to is recorded when it is done; the same command again goes on with the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from custodes.audit.concepts import Concept, read_concept
from custodes.audit.directions import (
    difference_of_means,
    grouped_folds,
    held_out_scores,
    random_directions,
    ridge_logistic,
    shuffled_labels,
    word_counts,
)
from custodes.audit.hidden_states import DirectionTried, Inside, InsideSet, LayerProbed, PolicyInside, RewardInside
from custodes.audit.record import RecordedRun
from custodes.audit.sections.hidden_states import InsideSection, best_layer
from custodes.environments import instruction_tasks
from custodes.job.command import command, in_words
from custodes.job.invocation import reads
from custodes.job.options import Output, Use, identity
from custodes.job.workspace import Workspace
from custodes.ledger import Model
from custodes.lm.address import ENDPOINT
from custodes.lm.decoder import Decoder
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import check_model, load
from custodes.lm.precision import DtypeName
from custodes.lm.residual import ablated, layer_in, steered
from custodes.loop.audited import Audited, write_audit
from custodes.ranges import AnyFloat, AnyInt, Count, Positive, Range, at_least, ranged
from custodes.reward import load_reward
from custodes.types import Episode, Floats, InputError, Sampling

REPLIES = 12
"""Replies of the model itself, whose perplexity is told beside each direction."""


@dataclass(frozen=True, kw_only=True)
@ranged
class AuditProbe:
    """Find where a concept can be read inside a policy or a reward, and what its direction does. Run again, it goes on."""

    out: Output
    """Folder for report.html, report.json and the ledger."""
    concept: str
    """What is looked for: biography, agreeing, length, or a table with prompt or messages, label (1 or 0) and group; where
    there are, completion, answer and others."""
    model: str = "smollm2-135m"
    """The policy that is looked into: embedded, a folder (also of a run or an adapter), a .gguf file or a hub id."""
    reward: str = ""
    """A saved reward that is looked into in place of the policy."""
    data: Annotated[Path | None, Use.APART] = None
    """Folder with political_typology, whose people the concept biography takes in place of built-in ones."""
    items: Annotated[int, at_least(8)] = 300
    """Items, at most; groups are kept whole."""
    folds: Annotated[int, at_least(2)] = 5
    """Parts in which groups are held out in turn."""
    shuffles: Count = 5
    """How often labels are shuffled for the control."""
    ridge: Positive = 1.0
    """Weight of the squares in the logistic probe; an item's features have length 1."""
    layer: AnyInt | None = None
    """Layer that is worked on, counted from 0; without it the best of those that are tried."""
    steer: tuple[AnyFloat, ...] = (1.0,)
    """Multiples of the direction that are added; 1 leads from one class to the other."""
    random: int = 100
    """Random directions of equal norm beside it; 0: directions are not tried at all."""
    random_from: Literal["even", "shuffled"] = "even"
    """What random directions are: drawn evenly, or differences of means of shuffled labels, which lie where states vary."""
    measure_on: Annotated[int, Range(4)] = 60
    """Items on which directions are tried, at most."""
    device: str = "auto"
    """Where to compute: cpu, cuda, or auto, which takes CUDA where there is a device."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    seed: int = 0
    """Decides which groups are held out and which directions are drawn."""


@command(resumes=True)
def audit_probe(config: AuditProbe) -> Audited:
    """Find where a concept can be read inside a policy or a reward, and what its direction does.

    Raises InputError for a model whose inside cannot be read, and for a concept that has one class or too few groups.
    """
    for name in (config.model, config.reward):
        if name.startswith(ENDPOINT):
            raise InputError(f"{name} is behind a server, and its inside cannot be read; give a folder with weights.")
    if not config.reward:
        check_model(config.model)
    concept = read_concept(config.concept, config.data, config.items, config.seed)
    label, groups = np.array([i.label for i in concept.items]), [i.group for i in concept.items]
    fold = grouped_folds(groups, label, config.folds, config.seed)
    seen = {"items": [[i.text, i.label, i.group, i.answer, list(i.others)] for i in concept.items]}
    with Workspace.open(config.out, "audit probe", identity(config), config.seed, contents=seen) as work:
        reads(*([Path(config.concept)] if Path(config.concept).is_file() else []))
        with work.phase("model", "Model"):
            inside, named, id = _opened(config, concept)
            if config.layer is not None:
                layer_in(inside.decoder, config.layer)
            if not any(m.id == id for m in work.ledger.models(work.run)):
                work.write([Model(id, named, "reward" if config.reward else "policy", None, {"model": named})])
        _Probing(config, work, inside, concept, label, groups, fold, named).run()
        work.end("completed")
        section = InsideSection(RecordedRun(work.ledger, work.run), "hidden_states")
        title = f"{concept.name} inside {named}"
        page = write_audit(
            work, config.out, [section], kind="Custodes report of probes", title=title, summary="What was found"
        )
    return Audited(section.figures, tuple(section.claims()), page)


@in_words(audit_probe)
def _show(config: AuditProbe, done: Audited) -> None:
    for sentence in (*done.claims, str(done.report)):
        print(sentence)


def _opened(config: AuditProbe, concept: Concept) -> tuple[Inside, str, str]:
    """What is looked into, its name, and the hash of its weights."""
    if not config.reward:
        lm = load(config.model, dtype=config.dtype, device=config.device)
        return PolicyInside(lm, concept.items), config.model, lm.fingerprint()
    if any(item.messages[-1].role != "assistant" for item in concept.items):
        raise InputError(
            f"concept {concept.name} has prompts without a reply, which a reward does not score; add completion."
        )
    reward = load_reward(config.reward, dtype=config.dtype, device=config.device)
    return RewardInside(reward), config.reward, f"{reward.lm.fingerprint()}-{reward.name}"


@dataclass
class _Probing:
    """One run."""

    config: AuditProbe
    work: Workspace
    inside: Inside
    concept: Concept
    label: Any
    groups: list[str]
    fold: Any
    named: str
    replies: list[Episode] = field(default_factory=list)

    def run(self) -> None:
        config, layers = self.config, self.inside.decoder.spec.layers
        rng = np.random.default_rng([config.seed, 19])
        shuffles = [shuffled_labels(self.groups, self.label, rng) for _ in range(config.shuffles)]
        found_in = self._halves()
        if not self.work.has("inside-set"):
            self.work.record("inside-set", self._set(shuffles, found_in), self.concept.name)
        known = [n for n in range(layers) if self.work.has(f"layer-{n}")]
        tried = {e.id for e in self.work.ledger.evaluations(self.work.run, DirectionTried.NAME)}
        directions = config.random > 0 and self._has_values()
        wanted = 1 + (1 + len(config.steer)) * (1 + config.random) if directions else 0
        if len(known) == layers and len(tried) >= wanted:
            return
        with self.work.phase("states", f"Hidden states of {len(self.concept.items)} items"):
            states = self.inside.states(self.concept.items)
        with self.work.phase("probes", "Probes"), self.work.progress("layers", layers) as advance:
            for layer in range(layers):
                if layer not in known:
                    self.work.record(f"layer-{layer}", self._layer(layer, states[layer], shuffles), str(layer))
                advance(1)
        if directions:
            self._directions(states, found_in)
        elif config.random:
            why = "the rows hold no reply, and no answer with others, whose probability a direction could change"
            self.work.console.print(f"Directions are not tried: {why}.", soft_wrap=True, highlight=False)

    def _has_values(self) -> bool:
        """Whether there is something that a direction could change: an answer's probability, a reply's, or a reward."""
        first = self.concept.items[0]
        return bool(self.config.reward or first.answer) or all(
            item.messages[-1].role == "assistant" for item in self.concept.items
        )

    def _set(self, shuffles: Sequence[Any], found_in: list[str]) -> InsideSet:
        bags = word_counts([item.text for item in self.concept.items])
        return InsideSet(
            concept=self.concept.name,
            source=self.concept.source,
            model=self.named,
            target="reward" if self.config.reward else "policy",
            measured=self.inside.measured,
            layers=self.inside.decoder.spec.layers,
            text=[item.text for item in self.concept.items],
            label=self.label.tolist(),
            group=self.groups,
            fold=self.fold.tolist(),
            shuffled=[s.tolist() for s in shuffles],
            words=held_out_scores(bags, self.label, self.fold, self._logistic).tolist(),
            found_in=found_in,
        )

    def _logistic(self, states: Floats, label: Any) -> tuple[Floats, float]:
        return ridge_logistic(states, label, self.config.ridge)

    def _layer(self, layer: int, states: Floats, shuffles: Sequence[Any]) -> LayerProbed:
        return LayerProbed(
            layer=layer,
            difference=held_out_scores(states, self.label, self.fold, difference_of_means).tolist(),
            logistic=held_out_scores(states, self.label, self.fold, self._logistic).tolist(),
            shuffled=[held_out_scores(states, s, self.fold, self._logistic).tolist() for s in shuffles],
        )

    def _halves(self) -> list[str]:
        """The groups that give the direction: half of them, with half of each class."""
        half = grouped_folds(self.groups, self.label, 2, self.config.seed + 1)
        return sorted({group for group, k in zip(self.groups, half.tolist(), strict=True) if k == 0})

    def _directions(self, states: Floats, found_in: list[str]) -> None:
        """Ablate and steer by the concept's direction and by random ones, on the groups that gave no direction."""
        config, n, items = self.config, self.config.random, self.concept.items
        giving = np.isin(self.groups, found_in)
        layer = config.layer if config.layer is not None else best_layer(RecordedRun(self.work.ledger, self.work.run))
        own, _ = difference_of_means(states[layer][giving], self.label[giving])
        if not np.linalg.norm(own) > 0:
            raise InputError(
                f"both classes have the same states after layer {layer}, so there is no direction; give another --layer."
            )
        others = self._others(states[layer][giving], giving, float(np.linalg.norm(own)))
        measured = self._measured(np.flatnonzero(~giving))
        if not config.reward:
            self.replies = self._own_replies()
        changes: list[tuple[str, float]] = [("ablated", 0.0), *(("steered", strength) for strength in config.steer)]
        plan = [("none", 0.0, -1), *((c, s, k) for c, s in changes for k in range(-1, n))]
        with self.work.phase("directions", "Directions"), self.work.progress("directions", len(plan)) as advance:
            for change, strength, k in plan:
                id = f"direction-{change}-{strength:g}-{k}"
                if not self.work.has(id):
                    vector = torch.from_numpy(own if k < 0 else others[k]).float()
                    decoder = _changed(self.inside.decoder, change, strength, layer, vector)
                    values = self.inside.values(decoder, [items[i] for i in measured])
                    row = DirectionTried(
                        change=change, strength=strength, direction=k, layer=layer, value=values.tolist(),  # type: ignore[arg-type]
                        label=[items[i].label for i in measured], group=[items[i].group for i in measured],
                        surprise=self.inside.surprise(decoder, self.replies).tolist(),
                    )  # fmt: skip
                    self.work.record(id, row, change)
                advance(1)

    def _others(self, states: Floats, giving: Any, norm: float) -> Floats:
        """(n, d) random directions, as long as the concept's own."""
        config, d = self.config, states.shape[1]
        if config.random_from == "even":
            return random_directions(config.random, norm, d, config.seed)
        rng = np.random.default_rng([config.seed, 58])
        groups = [group for group, inside in zip(self.groups, giving.tolist(), strict=True) if inside]
        drawn = np.stack(
            [
                difference_of_means(states, shuffled_labels(groups, self.label[giving], rng))[0]
                for _ in range(config.random)
            ]
        )
        return np.asarray(norm * drawn / np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), 1e-12))

    def _measured(self, left: Any) -> list[int]:
        """Items whose groups gave no direction, whole groups of both classes in turn, about as many as are asked for."""
        rng = np.random.default_rng([self.config.seed, 20])
        by_label: dict[bool, list[str]] = {True: [], False: []}
        for group in rng.permutation(sorted({self.groups[i] for i in left})).tolist():
            by_label[bool(self.label[[i for i in left if self.groups[i] == group]].mean() >= 0.5)].append(group)
        chosen: list[int] = []
        while any(by_label.values()) and len(chosen) < self.config.measure_on:
            for side in by_label.values():
                group = side.pop() if side else None
                chosen += [int(i) for i in left if self.groups[i] == group]
        return sorted(chosen)

    def _own_replies(self) -> list[Episode]:
        assert isinstance(self.inside, PolicyInside)
        tasks = [task for task in instruction_tasks() if task.metadata["split"] == "held_out"][:REPLIES]
        self.work.write(tasks)
        sampling = Sampling(temperature=0, max_tokens=48, seed=self.config.seed)
        drawn = self.work.sample("own replies", TorchEngine(self.inside.lm), tasks, sampling)
        return [episode for episode in drawn if episode.actions]


def _changed(decoder: Decoder, change: str, strength: float, layer: int, vector: torch.Tensor) -> Decoder:
    if change == "none":
        return decoder
    return ablated(decoder, vector) if change == "ablated" else steered(decoder, layer, strength * vector)
