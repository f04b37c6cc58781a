"""A reward with an output for each group of annotators, and how well it serves each.

Groups are found on the backbone's features (``hidden_features.py``). Then each pair teaches every group's output by the
probability that its annotator belongs to the group. This is the M-step of the mixture with the whole model in place of a
linear reward (MaxMin-RLHF, arXiv 2402.08925). What is known of the groups stands beside the weights, in ``groups.json``.

Letters: P pairs, K annotators, G groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_expit, logsumexp

from custodes.feedback.collection import UNNAMED, Feedback
from custodes.feedback.exchange import pairs_from_judgments
from custodes.files import save_json
from custodes.lm.loading import LanguageModel
from custodes.reward.config import RewardConfig
from custodes.reward.group_choice import choose_groups
from custodes.reward.hidden_features import MEASURED, correlations_with, hidden_pairs
from custodes.reward.model import RewardModel
from custodes.reward.named_groups import NamedGroups
from custodes.reward.spread import measure_spread
from custodes.reward.train import train_reward
from custodes.stats import Interval, rate
from custodes.types import Episode, Floats, InputError, Judgment, PreferencePair

FILE = "groups.json"
HALVES = 2
"""An annotator's held-out judgments are told apart into so many parts: some say the group, the others are predicted."""


@dataclass(frozen=True, eq=False)
class NamedPairs:
    """P comparisons whose annotators are named."""

    pairs: list[PreferencePair]
    sides: list[tuple[Episode, Episode]]  # chosen and rejected
    annotators: list[str]
    tasks: list[str]

    @classmethod
    def of(cls, judgments: Iterable[Judgment], feedback: Feedback, axis: str, source: str) -> NamedPairs:
        """Those on ``axis``, of different texts. Raises InputError where a judgment does not say who made it, and where there is none."""
        made = cls([], [], [], [])
        for judgment in judgments:
            shown = [feedback.episodes[id] for id in judgment.episodes]
            ids = {episode.messages: episode for episode in shown}
            for pair in pairs_from_judgments([judgment], shown, axis=axis, origins=feedback.origins):
                made.pairs.append(pair)
                made.sides.append((ids[(*pair.prompt, *pair.chosen)], ids[(*pair.prompt, *pair.rejected)]))
                made.annotators.append(judgment.annotator)
                made.tasks.append(judgment.task)
        if not made.pairs:
            raise InputError(f"{source} hold no comparison on {axis!r}; groups are found from comparisons.")
        if UNNAMED in made.annotators:
            raise InputError(
                f'{source} do not say of every judgment who made it; groups of annotators need a column "annotator".'
            )
        return made

    @property
    def label(self) -> Floats:
        """(P,) probability that the chosen one is better."""
        return np.array([pair.label for pair in self.pairs])


@dataclass(frozen=True, slots=True, eq=False)
class GroupAccuracy:
    """How often a reward orders two replies as a member of each group did."""

    value: tuple[Interval, ...]
    """(G,) of the reward's value: what everybody gets."""
    own: tuple[Interval, ...]
    """(G,) of the group's own output."""

    @property
    def worst(self) -> Interval:
        """Of the value, for the group that it serves worst."""
        judged = [interval for interval in self.value if interval.n]
        return min(judged, key=lambda interval: interval.estimate, default=Interval(float("nan"), 0.0, 1.0, 0))

    def to_dict(self) -> dict[str, Any]:
        return {
            "groups": [
                {"value": value.to_dict(), "own": own.to_dict()}
                for value, own in zip(self.value, self.own, strict=True)
            ],
            "worst": self.worst.to_dict(),
        }

    def lines(self) -> list[str]:
        lines = [
            f"Accuracy for group {g}: {value} by the reward's value, {own} by the group's own output."
            for g, (value, own) in enumerate(zip(self.value, self.own, strict=True), 1)
        ]
        return [*lines, f"Worst group: {self.worst}."]


@dataclass(frozen=True, eq=False)
class RewardGroups:
    """The groups of a reward: as they were found, or as its folder has them."""

    held: Mapping[str, Any]
    """``NamedGroups.to_dict`` and the r2 of ``Spread.to_dict``."""
    lines: tuple[str, ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """(G,) names of the outputs."""
        return tuple(f"group_{g}" for g in range(1, len(self.held["groups"]) + 1))

    @property
    def shares(self) -> dict[str, float]:
        """Weight of each output in the value: the group's share of the annotators, of those not taken for poisoners."""
        groups = self.held["groups"]
        kept = [group["share"] * (group["decided"] != "poisoners") for group in groups]
        return {axis: share / sum(kept) for axis, share in zip(self.axes, kept, strict=True)}

    def save(self, folder: Path) -> None:
        save_json(folder / FILE, {"groups": dict(self.held), "lines": list(self.lines)})

    @classmethod
    def load(cls, folder: Path) -> RewardGroups | None:
        """Those of a saved reward; None where it has none. Raises InputError where the file is damaged."""
        if not (folder / FILE).is_file():
            return None
        try:
            told = json.loads((folder / FILE).read_text(encoding="utf-8"))
            return cls(told["groups"], tuple(told["lines"]))
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{folder / FILE} is damaged; restore it or train the reward again.") from None


def find_reward_groups(
    lm: LanguageModel, named: NamedPairs, count: int, decide: Sequence[str], config: RewardConfig, source: str
) -> tuple[RewardGroups, NamedGroups, Floats]:
    """Groups on the backbone's features; how much each pair teaches each group's output (P, G); ``count`` 0 chooses the number.

    Raises InputError as :func:`~custodes.reward.groups.fit_groups` does, and where the replies do not fit.
    """
    hidden = hidden_pairs(
        lm, named.sides, named.label, named.annotators, max_length=config.max_length, source=source, seed=config.seed
    )
    chosen = choose_groups(hidden.data, count, seed=config.seed)
    correlations = correlations_with(chosen.groups.scores(hidden.data.difference), hidden.measured)
    groups = NamedGroups.of(chosen, MEASURED, decide, correlations)
    spread = measure_spread(hidden.first, hidden.second, hidden.data, chosen.groups, seed=config.seed)
    own = np.array([pair.weight for pair in named.pairs])
    weights = chosen.groups.membership[hidden.data.person] * own[:, None]
    lines = [*groups.lines(), str(spread)]
    return RewardGroups(groups.to_dict() | {"r2": spread.to_dict()}, tuple(lines)), groups, weights


def train_group_reward(
    lm: LanguageModel,
    named: NamedPairs,
    weights: Floats,
    groups: RewardGroups,
    config: RewardConfig,
    source: str,
    **run: Any,
) -> RewardModel:
    """A reward whose outputs are the groups' and whose value is their mean, weighted by the groups' shares."""
    model = train_reward(lm, named.pairs, config, axes=groups.axes, weights=weights, source=source, **run)
    model.weights = groups.shares
    return model


def accuracy_of_groups(
    model: RewardModel, named: NamedPairs, groups: RewardGroups
) -> tuple[GroupAccuracy, dict[str, list[Any]]]:
    """The reward against held-out judgments, ties left out; and of each of these the "group" from 1, whether the value "agreed", and the "task".

    Somebody who judged in training has the group found there. Where somebody is new, one half of their judgments says the
    group, by the outputs' own likelihood, and the other half is predicted, and the other way round.
    """
    replies = {episode.id: episode for sides in named.sides for episode in sides}  # each is read once
    scores, place = model.score(list(replies.values())), {id: n for n, id in enumerate(replies)}
    one, other = (np.array([place[sides[k].id] for sides in named.sides]) for k in (0, 1))
    columns = [scores.parts[axis] for axis in groups.axes] if len(groups.axes) > 1 else [scores.value]
    each = np.stack(columns, axis=1)
    difference, value = each[one] - each[other], scores.value[one] - scores.value[other]
    group, label = _likeliest(named, groups, difference / model.temperature), named.label
    decided = label != 0.5
    tasks = np.array(named.tasks)

    def of(score: Floats, g: int) -> Interval:
        some = decided & (group == g)
        right = np.where(score[some] == 0, 0.5, (score[some] > 0) == (label[some] > 0.5))
        return rate(right, tasks[some].tolist())

    G = len(columns)
    accuracy = GroupAccuracy(tuple(of(value, g) for g in range(G)), tuple(of(difference[:, g], g) for g in range(G)))
    agreed = ((value > 0) == (label > 0.5))[decided].astype(float)
    rows = {"group": (group[decided] + 1).tolist(), "agreed": agreed.tolist(), "task": tasks[decided].tolist()}
    return accuracy, rows


def _likeliest(named: NamedPairs, groups: RewardGroups, logit: Floats) -> Any:
    """(P,) the likeliest group of each judgment's annotator, from 0, told from others of their judgments."""
    known = groups.held["membership"]
    prior = np.log([group["share"] for group in groups.held["groups"]])
    label = named.label[:, None]
    likelihood = label * log_expit(logit) + (1 - label) * log_expit(-logit)  # (P, G)
    found = np.zeros(len(label), int)
    names = np.array(named.annotators)
    for name in dict.fromkeys(named.annotators):
        own = np.flatnonzero(names == name)
        if name in known:
            found[own] = int(np.argmax(known[name]))
            continue
        for half in range(HALVES):
            others = prior + likelihood[own[np.arange(len(own)) % HALVES != half]].sum(axis=0)
            found[own[np.arange(len(own)) % HALVES == half]] = int(np.argmax(others - logsumexp(others)))
    return found
