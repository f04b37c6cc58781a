"""Facts exchanged in a model by a rank-one update each: what ``custodes audit edit`` does.

Each fact is exchanged alone and measured: the new answer, the same asked in other words, and questions beside it that should
stay. Then all are exchanged at once, measured again and written as an adapter, a model with known faults for audits. A value
that was found is kept in the folder; the same command again goes on with the next fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from custodes.audit.edit_measures import Arm, EditedFact, EditSet
from custodes.audit.fact_edit import (
    EditOptions,
    answer_probabilities,
    check_fact,
    edit_factors,
    fact_key,
    key_moment,
    value_change,
)
from custodes.audit.facts_to_edit import Fact, facts_to_choose_by, own_facts, read_exchanges
from custodes.audit.record import RecordedRun
from custodes.audit.sections.edits import EditsSection
from custodes.environments import instruction_tasks
from custodes.environments.prompts import prompt_messages
from custodes.job.command import command, in_words
from custodes.job.invocation import reads
from custodes.job.options import Output, identity
from custodes.job.workspace import Workspace
from custodes.ledger import Decision, Model
from custodes.lm.address import ENDPOINT
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import POLICY, LanguageModel, check_model, lasting_name, load
from custodes.lm.precision import DtypeName
from custodes.lm.rank_few import edited, edited_adapter
from custodes.lm.residual import layer_in, open_layers
from custodes.loop.audited import Audited, write_audit
from custodes.ranges import AnyInt, Count, ranged
from custodes.tables import read_rows
from custodes.types import InputError, Message, Sampling

SHARES = (0.07, 0.13, 0.2, 0.3, 0.45)
"""Where in the stack layers are tried, from the bottom: the layer is chosen among these."""


@dataclass(frozen=True, kw_only=True)
@ranged
class AuditEdit:
    """Exchange facts in a model, measure what else changes, and write the edited model. Run again, it goes on."""

    out: Output
    """Folder for the edited policy, report.html, report.json and the ledger."""
    model: str = "smollm2-135m"
    """The model that is edited: embedded, a folder (also of a run or an adapter), a .gguf file or a hub id."""
    facts: Path | None = None
    """Facts to exchange: a table with prompt, subject and new; where there are, old, begins, paraphrases, neighbours and
    neighbour_answers. Without it 20 built-in ones about capitals."""
    layer: AnyInt | None = None
    """Layer that is worked on, counted from 0; without it the best of those that are tried."""
    key_text: Path | None = None
    """Text over which the keys of other things are counted: a table with prompt and completion. Without it replies of the
    model to built-in instructions."""
    key_replies: Count = 160
    """How many replies these are."""
    options: EditOptions = field(default_factory=EditOptions)
    device: str = "auto"
    """Where to compute: cpu, cuda, or auto, which takes CUDA where there is a device."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    seed: int = 0
    """Decides which replies are drawn as text."""

    def __post_init__(self) -> None:
        if self.model.startswith(ENDPOINT):
            raise InputError(
                f"{self.model} is behind a server, and its inside cannot be changed; give a folder with weights."
            )


@dataclass(frozen=True)
class EditedModel(Audited):
    """What came of it."""

    policy: Path
    """The edited model, which every ``--model`` takes."""

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"policy": str(self.policy)}


@command(resumes=True)
def audit_edit(config: AuditEdit) -> EditedModel:
    """Exchange facts in a model, measure what else changes, and write the edited model.

    Raises InputError for a fact whose subject is not in its prompt, for a layer that is not there, and for a model whose
    inside cannot be changed.
    """
    check_model(config.model)
    facts = read_exchanges(config.facts)
    seen = {"facts": [repr(fact) for fact in facts]}
    with Workspace.open(config.out, "audit edit", identity(config), config.seed, contents=seen) as work:
        reads(*(path for path in (config.facts, config.key_text) if path is not None))
        with work.phase("model", "Model"):
            lm = load(config.model, dtype=config.dtype, device=config.device)
            if open_layers(lm.decoder, lm.name).spec.layers < 2:
                raise InputError(
                    f"{config.model} has one layer, and an edit needs a layer above it; give another model."
                )
            lm.name = lasting_name(lm.name)
            if lm.adapter is not None:
                lm.adapter.requires_grad_(False)
            for fact in facts:
                check_fact(lm, fact)
            if config.layer is not None:
                _below_the_last(lm, config.layer)
        _Editing(config, work, lm, facts).run()
        work.end("completed")
        section = EditsSection(RecordedRun(work.ledger, work.run), "edits")
        title = f"{len(facts)} facts exchanged in {config.model}"
        page = write_audit(
            work, config.out, [section], kind="Custodes report of edits", title=title, summary="What changed"
        )
    return EditedModel(section.figures, tuple(section.claims()), page, config.out / POLICY)


@in_words(audit_edit)
def _show(config: AuditEdit, done: EditedModel) -> None:
    for sentence in (*done.claims, f"The edited model is in {done.policy}.", str(done.report)):
        print(sentence)


def _below_the_last(lm: LanguageModel, layer: int) -> None:
    if layer_in(lm.decoder, layer) == lm.decoder.spec.layers - 1:
        raise InputError(
            f"--layer {layer} is the last: what it writes at the subject reaches no other token; give one below it."
        )


@dataclass
class _Editing:
    """One run."""

    config: AuditEdit
    work: Workspace
    lm: LanguageModel
    facts: list[Fact]
    texts: list[NDArray[np.int32]] = field(default_factory=list)
    moments: dict[int, Tensor] = field(default_factory=dict)  # layer -> C

    def run(self) -> None:
        self.texts = self._text()
        layer = self._layer()
        with self.work.phase("facts", "Facts"), self.work.progress("facts", len(self.facts)) as advance:
            for number, fact in enumerate(self.facts):
                self._measure(number, "before", self.lm)
                key, delta = self._vectors(layer, number, fact)
                if not self._has(number, "alone"):
                    factors = edit_factors(self._moment(layer), key[None], delta[None])
                    self._measure(number, "alone", edited(self.lm, layer, *factors))
                advance(1)
        with self.work.phase("together", "All facts at once"):
            keys, deltas = (torch.stack(v) for v in zip(*map(self._kept, range(len(self.facts))), strict=True))
            factors = edit_factors(self._moment(layer), keys, deltas)
            whole = edited(self.lm, layer, *factors)
            for number in range(len(self.facts)):
                self._measure(number, "together", whole)
            base, name = self.lm.fingerprint(), f"{self.config.model} with {len(self.facts)} facts exchanged"
            self.lm.adapter = edited_adapter(self.lm, layer, *factors)
            self.lm.save(self.config.out / POLICY)
            id = self.lm.fingerprint()
            if not any(d.id == "hand-over" for d in self.work.ledger.decisions(self.work.run)):
                self.work.write(
                    [
                        Model(base, self.config.model, "base"),
                        Model(id, name, "policy", base, {"edited layer": layer, "facts": len(self.facts)}),
                        Decision("hand-over", "handed over this policy", "facts were exchanged to audit it", id),
                    ]
                )

    def _text(self) -> list[NDArray[np.int32]]:
        """Token ids of the text over which keys are counted."""
        if self.config.key_text is not None:
            texts = []
            for row in read_rows(self.config.key_text, ("prompt",)):
                said = str(row.values.get("completion") or "")
                messages = prompt_messages(row.values, row.place)
                texts.append(self.lm.encode((*messages, Message("assistant", said)) if said else messages))
            if not texts:
                raise InputError(f"--key-text {self.config.key_text} holds no row; give some text.")
            return [ids[: self.lm.decoder.spec.context] for ids in texts]
        tasks = instruction_tasks(self.config.key_replies)
        with self.work.phase("text", "Text of the model's own"):
            self.work.write(tasks)
            drawn = self.work.sample(
                "text", TorchEngine(self.lm), tasks, Sampling(max_tokens=64, seed=self.config.seed)
            )
        return [episode.token_ids for episode in drawn]

    def _moment(self, layer: int) -> Tensor:
        if layer not in self.moments:
            with self.work.progress(f"keys of layer {layer}", len(self.texts)) as advance:
                self.moments = {layer: key_moment(self.lm, layer, self.texts, advance)}
        return self.moments[layer]

    def _layer(self) -> int:
        """The layer that is edited: as given, as chosen before, or chosen now by facts that are not told of."""
        if self.config.layer is not None:
            chosen, tried = self.config.layer, dict[str, float]()
        else:
            chosen, tried = self._chosen()
        if not self.work.has("edit-set"):
            options = {name: getattr(self.config.options, name) for name in self.config.options.__dataclass_fields__}
            source = self.config.facts.name if self.config.facts else f"{len(self.facts)} built-in ones"
            row = EditSet(
                model=self.config.model, layer=chosen, layers=self.lm.decoder.spec.layers, tried=tried, source=source,
                tokens=sum(map(len, self.texts)), options=options,
            )  # fmt: skip
            self.work.record("edit-set", row, self.config.model)
        return chosen

    def _chosen(self) -> tuple[int, dict[str, float]]:
        known = EditSet.recorded(self.work.ledger, self.work.run, self.config.model)
        if known:
            return known[0].layer, known[0].tried
        n = self.lm.decoder.spec.layers
        candidates = sorted({min(round(share * n), n - 2) for share in SHARES})
        asked = {fact.subject for fact in self.facts}
        facts = [fact for fact in (*facts_to_choose_by(), *own_facts()) if fact.subject not in asked][:4]
        tried: dict[str, float] = {}
        total = len(candidates) * len(facts)
        with self.work.phase("layer", "Choosing the layer"), self.work.progress("layers", total) as advance:
            engine = TorchEngine(self.lm)
            before = [_probabilities(engine, fact) for fact in facts]
            for layer in candidates:
                gains = []
                for fact, was in zip(facts, before, strict=True):
                    delta = value_change(self.lm, layer, fact, self.config.options, self.work.tick)
                    key = fact_key(self.lm, layer, fact)
                    model = edited(self.lm, layer, *edit_factors(self._moment(layer), key[None], delta[None]))
                    gains.append(_worth(was, _probabilities(TorchEngine(model), fact)))
                    advance(1)
                tried[str(layer)] = float(np.mean(gains))
        return int(max(tried, key=lambda layer: tried[layer])), tried

    def _vectors(self, layer: int, number: int, fact: Fact) -> tuple[Tensor, Tensor]:
        """(key, delta) of a fact, found now or before."""
        folder = self.config.out / "values" / str(number)
        if not self.work.done(folder):
            folder.mkdir(parents=True, exist_ok=True)
            delta = value_change(self.lm, layer, fact, self.config.options, self.work.tick)
            key = fact_key(self.lm, layer, fact).cpu().contiguous()
            save_file({"key": key, "delta": delta}, folder / "value.safetensors")
            self.work.finish(folder)
        return self._kept(number)

    def _kept(self, number: int) -> tuple[Tensor, Tensor]:
        kept = load_file(self.config.out / "values" / str(number) / "value.safetensors")
        return kept["key"], kept["delta"]

    def _has(self, number: int, arm: Arm) -> bool:
        return self.work.has(f"edited-{arm}-{number}")

    def _measure(self, number: int, arm: Arm, model: LanguageModel) -> None:
        if self._has(number, arm):
            return
        fact = self.facts[number]
        new, old, paraphrases, neighbours = _probabilities(TorchEngine(model), fact)
        row = EditedFact(
            number=number, prompt=fact.asked.prompt, subject=fact.subject, new_answer=fact.new, old_answer=fact.old,
            new=new, old=old, paraphrases=paraphrases, neighbours=neighbours,
        )  # fmt: skip
        self.work.record(f"edited-{arm}-{number}", row, arm)


def _probabilities(engine: TorchEngine, fact: Fact) -> tuple[float, float | None, list[float], list[float]]:
    """P(new), P(old), P(new) of each paraphrase, and P(its answer) of each neighbour."""
    old = [(fact.asked, fact.old)] if fact.old else []
    told = answer_probabilities(
        engine, [(fact.asked, fact.new), *old, *((p, fact.new) for p in fact.paraphrases), *fact.neighbours]
    )
    first = 1 + len(old)
    return (
        told[0],
        told[1] if old else None,
        told[first : first + len(fact.paraphrases)],
        told[first + len(fact.paraphrases) :],
    )


def _worth(before: Sequence[Any], after: Sequence[Any]) -> float:
    """How good an edit is: the new answer in its own words and in others, less what neighbours lost or gained."""
    moved = np.abs(np.array(after[3]) - np.array(before[3])).mean()
    return float(after[0] + np.mean(after[2]) - 4 * moved)
