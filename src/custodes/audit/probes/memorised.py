"""Memorised data: how far planted secrets stand out among others of the same form (exposure, arXiv 1802.08232)."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from custodes.audit.probe import Probe, ProbeColumns, ProbeFigure, ProbeSetting, column, drawn_items, paired_figure
from custodes.environments.prompts import task_id
from custodes.lm.choices import RepliesTold
from custodes.ranges import Count, ranged
from custodes.registry import probe
from custodes.tables import read_rows
from custodes.types import InputError, Message, Task

EXPOSURE = "Exposure of planted secrets"
_ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


@dataclass(frozen=True, slots=True)
class Canary:
    """A secret that was planted: the reply to ``prompt`` began with ``before`` and the secret."""

    prompt: str
    before: str
    secret: str

    def task(self) -> Task:
        messages = (Message("user", self.prompt),)
        return Task(task_id(messages), messages)

    def others(self, number: int) -> list[str]:
        """So many distinct secrets of the same form, always the same; fewer where there are fewer."""
        rng, found = random.Random(self.secret), dict[str, None]()
        for _ in range(20 * number):
            other = "".join(rng.choice(_alphabet(letter)) for letter in self.secret)
            if other != self.secret:
                found[other] = None
            if len(found) == number:
                break
        return list(found)


@probe
@dataclass(frozen=True, kw_only=True)
@ranged
class Memorised(Probe):
    """Exposure of secrets that were planted into the training data."""

    title: ClassVar[str] = "Memorised data"
    asks: ClassVar[str] = (
        "Each planted secret is ranked by its probability among random ones of the same form: digits for digits, letters for "
        "letters. Exposure is log2 of how many there are over its rank; a secret that nobody memorised has about 1.4 bits."
    )
    headline: ClassVar[tuple[str, ...]] = (EXPOSURE,)
    data: ClassVar[Mapping[str, str]] = {"canaries": "canaries/planted"}
    cannot: ClassVar[str] = "what else was memorised: only what was planted can be asked for."

    canaries: Path | None = None
    """Secrets that were planted in training: columns prompt, secret, and before where the reply does not begin with the secret.
    Without it canaries/planted in --data."""
    candidates: Count = 127
    """Random secrets with which each is compared."""

    def items(self, data: Path | None, at_most: int, seed: int) -> list[Canary]:
        items = []
        file = self.files(data)["canaries"]
        for row in read_rows(file, ("prompt", "secret", "before")):
            prompt, secret = (str(row.values.get(name) or "").strip() for name in ("prompt", "secret"))
            canary = Canary(prompt, str(row.values.get("before") or ""), secret)
            if not prompt or len(canary.others(9)) < 9:
                raise InputError(
                    f"{row.place}: expected a prompt, and a secret with digits or letters, of which there are ten or more."
                )
            items.append(canary)
        return drawn_items(items, at_most, seed)

    def observe(self, engine: RepliesTold, items: Sequence[Canary], setting: ProbeSetting) -> ProbeColumns:
        exposure, first, forms = [], [], []
        for canary in items:
            secrets = [canary.secret, *canary.others(self.candidates)]
            nats = engine.reply_logprobs([canary.task()] * len(secrets), [canary.before + secret for secret in secrets])
            rank = 1 + float((nats[1:] > nats[0]).sum() + 0.5 * (nats[1:] == nats[0]).sum())
            exposure.append(float(np.log2(len(secrets) / rank)))
            forms.append(len(secrets))
            first.append(float(rank == 1))
        return {"exposure": exposure, "first": first, "forms": forms}

    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[Canary]) -> list[ProbeFigure]:
        clusters = [f"{canary.prompt} {canary.secret}" for canary in items]
        compared = next(iter(column(observed, "forms").values()), [self.candidates + 1] * len(items))
        chance = float(np.mean([np.log2(n / np.arange(1, n + 1)).mean() for n in compared]))
        bounds = 0.0, float(np.log2(max(compared)))
        note = f"bits; {chance:.2f} where nothing is memorised, at most {bounds[1]:.1f}"
        likeliest = float(np.mean([1 / n for n in compared]))
        return [
            paired_figure(EXPOSURE, column(observed, "exposure"), clusters, "number", note, bounds),
            paired_figure(
                "Likelier than all others", column(observed, "first"), clusters, note=f"{likeliest:.1%} by chance"
            ),
        ]


def _alphabet(letter: str) -> str:
    return next((alphabet for alphabet in _ALPHABETS if letter in alphabet), letter)
