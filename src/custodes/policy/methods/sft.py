"""Supervised tuning: make given replies more likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from custodes.environments import task_id
from custodes.feedback.exchange import examples_from_judgments
from custodes.feedback.reading import FeedbackFile
from custodes.policy.learner import Forward, Learner
from custodes.policy.losses import supervised_loss
from custodes.policy.rollout import Pack, make_packs
from custodes.policy.tuning import LearnsFrom, TuneMethod
from custodes.policy.turns import demonstration_of
from custodes.ranges import Count, ranged
from custodes.registry import method
from custodes.train import Metrics
from custodes.types import Episode, InputError, Message, Task


@method
@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Sft(TuneMethod):
    """The negative log-likelihood of the tokens of given replies, their mean over the update.

    An example is a task with a reply, or with a conversation of several turns (the messages after the task's own); of
    these the assistant's replies alone are learned. ``loss`` is in nats per token.
    """

    name: ClassVar[str] = "sft"
    source: ClassVar[str] = "arXiv 2203.02155, section 3.5"
    learns_from: ClassVar[LearnsFrom] = "demonstrations"

    rates: ClassVar[tuple[float, float]] = (2e-4, 2e-5)

    batch: Count = 32
    """Examples per update."""
    chosen: bool = False
    """Learn the better reply of each comparison, once, in place of demonstrations."""

    def examples(self, file: FeedbackFile, axis: str) -> list[tuple[Task, Sequence[Message]]]:
        if self.chosen:
            pairs = [pair for pair in file.pairs(axis) if pair.weight > 0 and pair.label != 0.5]
            best = dict.fromkeys((p.prompt, p.chosen if p.label > 0.5 else p.rejected) for p in pairs)
            return [(Task(task_id(prompt), prompt), said) for prompt, said in best]
        held = file.feedback
        shown = examples_from_judgments(held.judgments, held.tasks.values(), held.episodes.values())
        good = [example for example in shown if example.label is not False]
        if not good:
            raise InputError(
                f"{file.path} holds no demonstration; give a table with prompt and completion, or with messages, or use "
                "--method dpo, or --chosen, for preferences."
            )
        return [(Task(task_id(e.prompt), e.prompt), e.completion) for e in good]

    def objective(self, learner: Learner, examples: Sequence[tuple[Task, str | Sequence[Message]]]) -> _Likelihood:
        return _Likelihood([demonstration_of(learner.lm, task, said) for task, said in examples], self.micro_tokens)


class _Likelihood:
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
    opening = [e.task.messages[0].content if e.task.messages[0].role == "system" else "" for e in episodes]
    ordered = sorted(rows, key=lambda i: opening[i])
    groups, group, used = [len(episodes) + i for i in range(len(episodes))], 0, 0
    for before, i in zip([None, *ordered], ordered, strict=False):
        used += len(episodes[i].token_ids)
        if before is None or not opening[i] or opening[i] != opening[before] or used > budget:
            group, used = i, len(episodes[i].token_ids)
        groups[i] = group
    return ordered, groups
