"""One iteration's episodes as tables, and as packs that a forward pass can take.

Letters: B episodes, T tokens of the longest episode (prompt included), M actions of a pack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.lm.packing import PackedBatch, pack, split_by_budget
from custodes.policy.advantages import on_last_action
from custodes.policy.losses import kl_k1
from custodes.types import Episode, InputError, Scores


@dataclass(slots=True, eq=False)
class Rollout:
    """The episodes of one iteration, each with at least one action, and what is known of their tokens.

    Tables are (B, T) in token coordinates, 0 off the actions.
    """

    episodes: list[Episode]
    groups: Tensor  # (B,) int64: episodes of one task share a number and are neighbours
    scores: Tensor  # (B,) float64
    steps: (
        Tensor | None
    )  # (B, T) float64: rewards of single tokens, such as the last ones of steps; NaN where there is none
    mask: Tensor  # (B, T) bool: actions
    sampled: Tensor  # (B, T) the sampler's own log-probabilities
    logprobs: Tensor  # (B, T) the learner's, before the iteration's first update
    reference: Tensor  # (B, T) the reference policy's
    values: Tensor | None = None  # (B, T)
    parts: dict[str, Tensor] = field(default_factory=dict)  # name -> (B,) float64: what the reward is made of

    @property
    def actions(self) -> int:
        return int(self.mask.sum())

    def kl(self) -> Tensor:
        """(B, T) k1 of each action: policy before the update to reference."""
        return torch.where(self.mask, kl_k1(self.logprobs, self.reference), 0)

    def rewards(self) -> Tensor:
        """(B, T) float64: score on the last action, and token scores."""
        on_last = on_last_action(self.scores, self.mask)
        return on_last if self.steps is None else on_last + self.steps.nan_to_num(0.0)

    def subset(self, keep: Tensor) -> Rollout:
        """The episodes where ``keep`` (B,) bool is true; tables are as wide as the longest of these."""
        episodes = [e for e, kept in zip(self.episodes, keep.tolist(), strict=True) if kept]
        T = max(len(e.token_ids) for e in episodes)
        names = ("steps", "mask", "sampled", "logprobs", "reference", "values")
        tables = {name: x[keep, :T].contiguous() for name in names if (x := getattr(self, name)) is not None}
        parts = {name: part[keep] for name, part in self.parts.items()}
        groups, scores = self.groups[keep], self.scores[keep]
        return replace(self, episodes=episodes, groups=groups, scores=scores, parts=parts, **tables)


def make_rollout(episodes: Sequence[Episode], groups: Sequence[int], scores: Scores, dtype: torch.dtype) -> Rollout:
    """Tables of the episodes that have an action and that the reward has an opinion of; the others teach nothing and stay
    out of every baseline.

    Raises InputError where a score is not finite or a token score sits on something that is not an action.
    """
    judged = has_opinion(scores)
    bad = [e.id for e, value, own in zip(episodes, scores.value, judged, strict=True) if own and not np.isfinite(value)]
    if bad:
        raise InputError(f"the reward gave no finite score for {len(bad)} episodes, the first of them {bad[0]}.")
    if not judged.any():
        raise InputError(
            f"the reward has no opinion on any of the {len(episodes)} episodes, the first of them {episodes[0].id}."
        )
    kept = [i for i, e in enumerate(episodes) if e.actions and judged[i]]
    if not kept:
        raise InputError(f"none of the {len(episodes)} episodes holds an action; there is nothing to learn from.")
    chosen = [episodes[i] for i in kept]
    mask = torch.from_numpy(_table([e.action_mask for e in chosen]))
    steps = None
    if (given := scores.token_rewards()) is not None:
        rows = torch.from_numpy(np.asarray(given, np.float64)[kept])[:, : mask.shape[1]]
        steps = torch.full(mask.shape, torch.nan, dtype=torch.float64)
        steps[:, : rows.shape[1]] = rows
        if steps[~mask].nan_to_num(0.0).any():
            raise InputError(
                "the reward put token scores on tokens that the policy did not choose; score actions only."
            )
    return Rollout(
        episodes=chosen,
        groups=torch.as_tensor([groups[i] for i in kept]),
        scores=torch.from_numpy(np.asarray(scores.value, np.float64)[kept]),
        steps=None if steps is None else torch.where(mask, steps, torch.nan),
        mask=mask,
        sampled=torch.from_numpy(_table([e.logprobs for e in chosen])).to(dtype),
        logprobs=torch.zeros(mask.shape, dtype=dtype),
        reference=torch.zeros(mask.shape, dtype=dtype),
        parts={name: torch.from_numpy(np.asarray(part, np.float64)[kept]) for name, part in scores.parts.items()},
    )


def has_opinion(scores: Scores) -> NDArray[np.bool_]:
    """(B,) false where a reward does not know an episode's value: it is NaN, and so is a part that it is made of."""
    if not scores.parts:
        return np.ones(len(scores.value), bool)
    return ~(np.isnan(scores.value) & np.any([np.isnan(part) for part in scores.parts.values()], axis=0))


def first_of_groups(groups: Tensor) -> Tensor:
    """(B,) bool: the first episode of each group; those of one are neighbours."""
    return torch.cat([torch.ones_like(groups[:1], dtype=torch.bool), groups[1:] != groups[:-1]])


def _table(rows: Sequence[NDArray]) -> NDArray:
    """Ragged rows as one (B, T) array, padded on the right with 0."""
    out = np.zeros((len(rows), max(len(r) for r in rows)), rows[0].dtype)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out


@dataclass(slots=True, eq=False)
class Pack:
    """A micro-batch: packed episodes, and where their M actions are and are predicted from.

    ``batch``, ``predict`` and ``targets`` move to the model's device; tables, and places in them, stay where they are.
    """

    batch: PackedBatch
    predict: Tensor  # (M,) int64 into the pack's tokens: the token before each action
    targets: Tensor  # (M,) int64: the actions
    place: Tensor  # (M,) int64 into a flattened (B, T) table
    episode: Tensor  # (M,) int64 into B
    trunk: Tensor | None = field(default=None, repr=False)  # (N, d) below the first layer that learns, once computed

    def move(self, device: torch.device) -> None:
        """Bring what a forward pass reads to a device."""
        if self.targets.device != device:
            self.batch, self.predict, self.targets = (
                self.batch.to(device),
                self.predict.to(device),
                self.targets.to(device),
            )


def make_packs(episodes: Sequence[Episode], rows: Sequence[int], budget: int, groups: Sequence[int]) -> list[Pack]:
    """Pack the episodes ``rows`` into micro-batches of about ``budget`` unique tokens.

    Neighbours of one group share their prompt. ``groups`` is aligned with ``episodes``.
    """
    T = max(len(e.token_ids) for e in episodes)
    of = [groups[i] for i in rows]
    lengths = [len(episodes[i].token_ids) for i in rows]
    new = [length - (_common(episodes[rows[k - 1]], episodes[i]) if k and of[k] == of[k - 1] else 0)
           for k, (i, length) in enumerate(zip(rows, lengths, strict=True))]  # fmt: skip
    return [_pack(episodes, [rows[k] for k in part], groups, T) for part in split_by_budget(new, budget, of)]


def _common(a: Episode, b: Episode) -> int:
    """Tokens that two episodes begin with alike, at most the second's prompt."""
    n = min(len(a.token_ids), int(b.action_mask.argmax()))
    differs = a.token_ids[:n] != b.token_ids[:n]
    return int(differs.argmax()) if differs.any() else n


def _pack(episodes: Sequence[Episode], rows: Sequence[int], groups: Sequence[int], T: int) -> Pack:
    chosen = [episodes[i] for i in rows]
    batch = pack([e.token_ids for e in chosen], [groups[i] for i in rows])
    at = [np.flatnonzero(e.action_mask) for e in chosen]
    counts = [len(a) for a in at]
    local, places = np.repeat(np.arange(len(rows)), counts), np.concatenate(at)
    if (places == 0).any():
        raise ValueError("the first token of an episode is marked as an action; nothing predicts it.")
    in_rollout = np.repeat(np.asarray(rows), counts)
    targets = np.concatenate([e.token_ids[a] for e, a in zip(chosen, at, strict=True)]).astype(np.int64)
    return Pack(
        batch=batch,
        predict=batch.rows[torch.from_numpy(local), torch.from_numpy(places - 1)],
        targets=torch.from_numpy(targets),
        place=torch.from_numpy(in_rollout * T + places),
        episode=torch.from_numpy(in_rollout),
    )


def make_minibatches(rollout: Rollout, count: int, budget: int, rng: np.random.Generator) -> list[list[Pack]]:
    """Deal whole groups at random into ``count`` minibatches; each is a list of packs. Formed once per iteration,
    so that log-probabilities before and during the first update come from the same forward pass, bit for bit."""
    groups = rollout.groups.tolist()
    names = rng.permutation(np.unique(groups))
    parts = [set(part.tolist()) for part in np.array_split(names, min(count, len(names)))]
    members = [[i for i, g in enumerate(groups) if g in part] for part in parts]
    return [make_packs(rollout.episodes, rows, budget, groups) for rows in members]
