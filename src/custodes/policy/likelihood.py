"""The objective of supervised tuning: the likelihood of what episodes say."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from custodes.policy.learner import Forward
from custodes.policy.losses import supervised_loss
from custodes.policy.rollout import Pack, make_packs
from custodes.train import Metrics
from custodes.types import Episode


class Likelihood:
    """What is learned: the actions of these episodes become likelier. ``loss`` is in nats per action of the update."""

    def __init__(self, episodes: list[Episode], micro_tokens: int) -> None:
        self.episodes, self.micro_tokens, self.labels = episodes, micro_tokens, list[float]()

    def packs(self, chosen: Sequence[int]) -> list[Pack]:
        rows, groups = _shared_openings(self.episodes, chosen, self.micro_tokens)
        packs = make_packs(self.episodes, rows, self.micro_tokens, groups)
        self.tokens, self.total = sum(len(p.targets) for p in packs), 0.0
        return packs

    def loss(self, pack: Pack, seen: Forward) -> Tensor:
        value = supervised_loss(seen.logprobs).sum() / self.tokens
        self.total += float(value.detach())
        return value

    def metrics(self) -> Metrics:
        return {"loss": self.total}


def _shared_openings(episodes: Sequence[Episode], rows: Sequence[int], budget: int) -> tuple[list[int], list[int]]:
    """The rows with those of one system message side by side, and the group of every episode: such neighbours, up to
    ``budget`` tokens together, so that the instructions that they have in common are computed once for all of them."""
    opening = ["".join(m.content for m in e.task.messages[:1] if m.role == "system") for e in episodes]
    ordered = sorted(rows, key=lambda i: opening[i])
    groups, group, used = [len(episodes) + i for i in range(len(episodes))], 0, 0
    for before, i in zip([None, *ordered], ordered, strict=False):
        used += len(episodes[i].token_ids)
        if before is None or not opening[i] or opening[i] != opening[before] or used > budget:
            group, used = i, len(episodes[i].token_ids)
        groups[i] = group
    return ordered, groups
