"""Diversity and entropy: base against optimised texts on the same tasks, and how sure the policy is of its own tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from custodes.audit import calibration, diversity
from custodes.audit.heldout import chosen_row, paired_values, task_matrix
from custodes.audit.record import ArmSection
from custodes.audit.rows import PolicyHeldout, Row
from custodes.page import number, signed
from custodes.registry import section
from custodes.stats import calibration_error, mean_interval
from custodes.types import Episode


@dataclass(frozen=True, kw_only=True)
class Samples(Row):
    """Episodes from which diversity is measured: the same tasks, several episodes each; ``subject`` is "base"
    or the arm. Their texts are read from the ledger."""

    NAME: ClassVar[str] = "samples"
    ALIGNED = ("episode",)

    episode: list[str]
    policy: str = ""


@section
class DiversitySection(ArmSection):
    """Every figure is {"base", "optimised", "difference"}, paired by task (within) or by block of tasks (across)."""

    title = "Diversity and entropy"
    place = 60
    what = "texts of base and optimised policy"
    template = """
{% for arm, d in figures.items() %}{{ arm_title(arm, source.arms) }}
<table class="wide-table">
  <thead><tr><th></th><th>Base</th><th>Optimised</th><th>Difference, paired</th></tr></thead>
  {{ paired_row("Distinct n-grams within a prompt", d.get("within_distinct"), note="expectation-adjusted, 1- to 4-grams") }}
  {{ paired_row("Distance within a prompt", d.get("within_distance"), note="cosine, character trigrams") }}
  {{ paired_row("Distinct n-grams across prompts", d.get("across_distinct"), note="blocks of 16 prompts") }}
  {{ paired_row("Distance across prompts", d.get("across_distance"), note="blocks of 16 prompts") }}
  {{ paired_row("Repetition inside an answer", d.get("repetition"), note="share of repeated 4-grams") }}
  {{ paired_row("Entropy per token, nats", d.get("entropy")) }}
  {{ paired_row("Length, tokens", d.get("length")) }}
  {{ paired_row("Mean probability of its own tokens", d.get("confidence"), note="geometric, per answer") }}
  {{ paired_row("Calibration error of that against gold", d.get("calibration_error")) }}
</table>
{% if not d.get("within_distinct") %}{{ absent("Diversity within a prompt (several answers to one prompt)") }}{% endif %}
{% else %}{{ absent("Texts of base and optimised policy") }}{% endfor %}
"""

    def read_arm(self, arm: str) -> dict[str, Any]:
        """From the samples rows where they exist, otherwise from the held-out episodes."""
        rows, samples, episodes = self.source.heldout.get(arm, []), self.source.last(Samples), self.source.episodes
        names: list[list[str]] = [[], []]
        if "base" in samples and arm in samples:
            names = [samples["base"].episode, samples[arm].episode]
        elif len(rows) > 1:
            names = [rows[0].episode, chosen_row(rows).episode]
        sides = [[episodes[e] for e in ids if e in episodes] for ids in names]
        return _texts(*sides) | (_sureness(rows, episodes) if len(rows) > 1 else {})

    def claims(self) -> list[str]:
        for where, name in (("within a prompt", "within_distance"), ("across prompts", "across_distance")):
            if self.first and name in self.first:
                d, base = self.first[name]["difference"], self.first[name]["base"].estimate
                verb = "did not change measurably" if d.low <= 0 <= d.high else "fell" if d.estimate < 0 else "rose"
                bounds = f"{signed(d.estimate)}, 95 % interval {signed(d.low)} to {signed(d.high)}"
                levels = f"from {number(base)} to {number(base + d.estimate)}"
                return [f"Diversity {where} {verb}: mean distance between answers {levels} ({bounds})."]
        return []

    def missing_of(self, figures: Mapping[str, Any]) -> list[str]:
        return [] if "within_distinct" in figures else ["several answers per prompt (diversity within a prompt)"]


def _texts(base: Sequence[Episode], optimised: Sequence[Episode]) -> dict[str, Any]:
    """Distinct n-grams, distances and repetition; empty with fewer than two tasks in common."""
    before, after = _by_task(base), _by_task(optimised)
    shared = sorted(before.keys() & after.keys())
    if len(shared) < 2:
        return {}
    old, new = [before[t] for t in shared], [after[t] for t in shared]
    texts = [text for group in old + new for text in group]
    vocabulary = {n: size for n in diversity.NGRAMS if (size := diversity.ngram_vocabulary(texts, n))}
    repeated = [[float(np.mean([diversity.repetition(t) for t in group])) for group in side] for side in (old, new)]
    figures: dict[str, Any] = {"repetition": paired_values(*repeated)}
    several = [(b, a) for b, a in zip(old, new, strict=True) if len(b) > 1 and len(a) > 1]
    for name, sides in (
        ("within", tuple(zip(*several, strict=True)) if several else ((), ())),
        ("across", (diversity.across(old), diversity.across(new))),
    ):
        if len(sides[0]) > 1:
            figures[f"{name}_distinct"] = paired_values(*(diversity.distinct(s, vocabulary) for s in sides))
            figures[f"{name}_distance"] = paired_values(*(diversity.distance(s) for s in sides))
    return {name: row for name, row in figures.items() if row}


def _by_task(episodes: Sequence[Episode]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for e in episodes:
        texts.setdefault(e.task.id, []).append(e.completion)
    return texts


def _sureness(rows: Sequence[PolicyHeldout], episodes: Mapping[str, Episode]) -> dict[str, Any]:
    """Entropy and length, and the calibration of the policy's own probabilities: does it answer well what it is
    sure of? ``calibration_error`` compares an episode's geometric mean token probability with its gold."""
    pair = [rows[0], chosen_row(rows)]
    figures: dict[str, Any] = {}
    for name in ("entropy", "length"):
        values = task_matrix(pair, name)
        if values is not None:
            figures[name] = paired_values(*values)
    known = [
        [(e, g) for e, g in zip(r.episode, r.gold or [], strict=False) if e in episodes and episodes[e].actions]
        for r in pair
    ]
    shares = all(0 <= g <= 1 for side in known for _, g in side)  # else no probability can be held against them
    if shares and all(len(k) > 1 for k in known):
        for name, side in zip(("base", "optimised"), known, strict=True):
            sure = calibration.policy_confidence([episodes[e].logprobs[episodes[e].action_mask] for e, _ in side])
            gold = np.array([g for _, g in side])
            figures.setdefault("calibration_error", {})[name] = calibration_error(sure, gold, calibration.BINS)
            figures.setdefault("confidence", {})[name] = mean_interval(sure)
    return figures
