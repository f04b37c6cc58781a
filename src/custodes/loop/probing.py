"""Probes asked of one model after another: what each said is recorded as it comes, and read back by a run that goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from custodes.audit.compared import ProbeFound
from custodes.audit.probe import ModelProbed, Probe, ProbeColumns, ProbeSetting
from custodes.job.workspace import Workspace
from custodes.lm.given import CannotTell
from custodes.types import Engine, Episode, Reward

CHUNK_ITEMS = 32
"""Items asked between two writes to the ledger: what an interruption costs at most."""
CHUNK_REPLIES = 128
"""Replies looked at between two writes."""


@dataclass
class Probing:
    """The probes of a run, the models in the order in which they are told, and what these said."""

    work: Workspace
    models: Sequence[str]
    probes: Mapping[str, Probe]
    items: Mapping[str, Sequence[Any]]
    """Of every probe that asks items."""
    setting: ProbeSetting = field(default_factory=ProbeSetting)
    data: Path | None = None
    told: dict[str, dict[str, ProbeColumns]] = field(default_factory=dict)  # model -> probe -> its columns
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)  # probe -> model -> why
    drawn: dict[str, list[Episode]] = field(default_factory=dict)

    @property
    def reads_replies(self) -> bool:
        return any(asked.reads == "replies" for asked in self.probes.values())

    def ask(self, model: str, engine: Any) -> None:
        """Ask a model every probe's items."""
        for name, items in self.items.items():
            asked = self.probes[name]
            observe = partial(asked.observe, engine, setting=self.setting)
            with self.work.phase("probe", f"{asked.title}, {model}"):
                self._kept(name, model, items, observe, CHUNK_ITEMS)

    def look_at(self, model: str, episodes: list[Episode], check: Reward | None, tokenizer: str) -> None:
        """What is known of the replies that a model drew, whose tokens ``tokenizer`` names; ``check`` says how good each is."""
        self.drawn[model] = episodes

        def observe(some: Sequence[Episode]) -> ProbeColumns:
            scores = check.score(some).total() if check is not None else None
            columns: dict[str, list[Any]] = {
                "tokenizer": [tokenizer] * len(some),
                "gold": [None] * len(some) if scores is None else scores.tolist(),
                "meets": [None] * len(some) if scores is None else (scores >= 1 - 1e-9).astype(float).tolist(),
            }
            if all(e.actions and np.isfinite(e.logprobs[e.action_mask]).all() for e in some):
                surprise = [-e.logprobs[e.action_mask].astype(float) for e in some]
                columns |= {
                    "nats": [float(s.sum()) for s in surprise],
                    "first_nats": [float(s[0]) for s in surprise],
                    "tokens": [len(s) for s in surprise],
                }
            return columns

        self._kept("replies", model, episodes, observe, CHUNK_REPLIES)

    def kl(self, model: str, base: Engine) -> tuple[list[float], list[str]]:
        """(KL of each reply, its task): the k1 estimate of KL(model || base), of models whose tokens are the same."""
        with self.work.phase("KL", f"KL of {model}"):
            self._kept("kl", model, self.drawn[model], lambda some: _kl(base, some), CHUNK_REPLIES)
        return list(self.told[model]["kl"]["kl"]), [e.task.id for e in self.drawn[model]]

    def found(self) -> tuple[dict[str, ProbeFound], dict[str, dict[str, str]]]:
        """What each probe found, which is recorded, and its own charts."""
        found, charts = {}, {}
        for name, asked in self.probes.items():
            source = name if asked.reads == "items" else "replies"
            items = self.items.get(name, [])
            observed = {m: own[source] for m in self.models if source in (own := self.told.get(m, {}))}
            if asked.reads == "replies":
                observed = {m: {**own, **self._replies(m)} for m, own in observed.items()}
            figures = asked.figures(observed, items) if observed else []
            skipped = dict(self.skipped.get(source, {}))
            for model in self.models:
                if figures and model not in skipped and not any(model in f.models for f in figures):
                    skipped[model] = "its engine gives no log-probabilities of what it says."
            prompts = len({e.task.id for e in next(iter(self.drawn.values()), [])})
            found[name] = ProbeFound(
                title=asked.title,
                asks=asked.asks,
                cannot=asked.cannot,
                headline=list(asked.headline),
                asked=len(items) or max((len(e) for e in self.drawn.values()), default=0),
                source=asked.source(self.data) if items else f"replies to {prompts} prompts",
                models=list(self.models),
                figures=figures,
                skipped=skipped or ({} if figures else dict.fromkeys(self.models, asked.nothing)),
            )
            charts[name] = asked.charts(observed, items) if figures else {}
            if not self.work.has(f"probe-found-{name}"):
                self.work.record(f"probe-found-{name}", found[name], name)
        return found, charts

    def _kept(
        self, name: str, model: str, asked: Sequence[Any], observe: Callable[[Sequence[Any]], ProbeColumns], chunk: int
    ) -> None:
        """Columns of everything that is asked: what is recorded, and the rest observed and recorded now."""
        rows = {
            row.start: row for row in ModelProbed.recorded(self.work.ledger, self.work.run, model) if row.probe == name
        }
        columns: dict[str, list[Any]] = {}
        with self.work.progress(f"{name}, {model}", len(asked)) as advance:
            for start in range(0, len(asked), chunk):
                some = asked[start : start + chunk]
                if start not in rows:
                    try:
                        observed = {key: list(value) for key, value in observe(some).items()}
                        rows[start] = ModelProbed(probe=name, start=start, columns=observed)
                    except CannotTell as why:
                        rows[start] = ModelProbed(probe=name, start=start, why_not=str(why))
                    self.work.record(f"probed-{name}-{model}-{start}", rows[start], model)
                if rows[start].why_not:
                    self.skipped.setdefault(name, {})[model] = rows[start].why_not
                    return
                for key, values in rows[start].columns.items():
                    columns.setdefault(key, []).extend(values)
                advance(len(some))
        own = {key: values for key, values in columns.items() if len(values) == len(asked)}
        self.told.setdefault(model, {})[name] = own

    def _replies(self, model: str) -> ProbeColumns:
        """What the ledger's episodes themselves say, and the KL where it was measured."""
        episodes = self.drawn[model]
        columns: dict[str, list[Any]] = {
            "task": [e.task.id for e in episodes],
            "text": [e.completion if e.outcome != "error" else None for e in episodes],
            "cut": [float(e.outcome == "length") for e in episodes],
        }
        return {**columns, **self.told[model].get("kl", {})}


def _kl(base: Engine, episodes: Sequence[Episode]) -> ProbeColumns:
    """``kl``: the k1 estimate of each reply's KL; ``base_nats``: how far the reply surprises the base model."""
    before = [float(nats.astype(float).sum()) for nats in base.logprobs(episodes)]
    own = [float(e.logprobs.astype(float).sum()) for e in episodes]
    return {"kl": [o - b for o, b in zip(own, before, strict=True)], "base_nats": [-b for b in before]}
