"""The reward: what it learned from, how disagreement was modelled, and how far it can be believed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from custodes.audit.disclosure.history import RecordRow
from custodes.audit.disclosure.lines import DisclosureGroup, Filled, Measure, Shown, line
from custodes.audit.sections.judges import AnnotatorEstimate
from custodes.audit.sections.rewards import RewardHeldout, RewardsSection
from custodes.audit.sections.taught import RewardTaught
from custodes.audit.sections.values import AnnotatorGroups, RewardOfGroups
from custodes.page import plain_name
from custodes.registry import disclosure
from custodes.stats import rate

MEASURES = {
    "accuracy": ("agrees with held-out judgments", "percent"),
    "gold_accuracy": ("prefers the truly better", "percent"),
    "ece_after": ("calibration error", "number"),
}
"""Of :class:`RewardsSection`'s figures, what is disclosed."""


@disclosure
class RewardDisclosure(DisclosureGroup):
    """Loss, disagreement, and evaluation."""

    title = "Reward model"
    place = 20
    survey = True

    @line("Reward models", "Which rewards there are, and what each consists of.")
    def models(self) -> Filled | None:
        rows = self.history.rows("model", "reward")
        value: dict[str, Shown] = {}
        for row in rows:
            told = [f"{plain_name(name)} {said}" for name, said in row.record.metadata.items()]
            value[self.history.label(row.place, row.record.name)] = "; ".join([*told, f"content hash {row.record.id}"])
        return Filled(value, rows)

    @line("Loss and data", "By which loss the reward was fitted, and to how many judgments of each kind.")
    def loss(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(RewardTaught):
            for row in rows:
                taught = RewardTaught.read(row.record)
                parts = [f"{count:,} {plain_name(kind)}s" for kind, count in taught.used.items()]
                parts += [f"{plain_name(kind)}s by {loss}" for kind, loss in taught.losses.items()]
                parts += [f"not used: {u['judgments']:,} {plain_name(u['kind'])}s, {u['why']}" for u in taught.unused]
                value[self.history.label(place, row.record.subject)] = "; ".join(parts)
            cited += rows
        return Filled(value, cited)

    @line(
        "How disagreement was modelled",
        "Whether evaluators who disagree count as noise, or as people with other values.",
    )
    def disagreement(self) -> Filled | None:
        value: dict[str, Shown] = {}
        estimates = self.history.rows("evaluation", AnnotatorEstimate.NAME)
        groups = self.history.rows("evaluation", AnnotatorGroups.NAME)
        if estimates:
            known = len({row.record.subject for row in estimates})
            value["as noise"] = (
                f"reliability, position bias and length bias were fitted for each of {known:,} annotators"
            )
        for row in groups:
            membership = AnnotatorGroups.read(row.record).membership
            sizes = sorted(Counter(np.argmax(membership, axis=1).tolist()).values(), reverse=True)
            found = f"{len(sizes)} groups by what they prefer, of {', '.join(map(str, sizes))} annotators"
            value[self.history.label(row.place, "as values")] = found if len(sizes) > 1 else "one group"
        return Filled(value, [*estimates, *groups])

    @line("Evaluation and results", "How the reward does on judgments that it did not learn from.")
    def results(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(RewardHeldout):
            for arm, figures in RewardsSection(place.recorded).figures.items():
                for name, (title, form) in MEASURES.items():
                    if (found := figures[name]) is not None and found.n:
                        value[self.history.label(place, arm, title)] = Measure(found, form)
            cited += rows
        return Filled(value, cited)

    @line("Results by group of evaluators", "Whom the reward serves least.")
    def by_group(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(RewardOfGroups):
            for row in rows:
                of = RewardOfGroups.read(row.record)
                for group in sorted(set(of.group)):
                    agreed = [(a, t) for a, t, g in zip(of.agreed, of.task, of.group, strict=True) if g == group]
                    right = rate(np.array([a for a, _ in agreed]), [t for _, t in agreed])
                    name = self.history.label(place, row.record.subject, f"agrees with group {group}")
                    value[name] = Measure(right, "percent")
            cited += rows
        return Filled(value, cited)

    @line("Red teaming of the reward", "Attacks on the reward, and what they gained.")
    def red_teaming(self) -> Filled | None:
        return self.runs_of("audit attack", where=lambda config: str(config.get("target", "")).startswith("reward"))
