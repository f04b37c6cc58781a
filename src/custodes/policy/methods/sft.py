"""Supervised tuning: make given replies more likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from custodes.environments import task_id
from custodes.feedback.exchange import examples_from_judgments
from custodes.feedback.reading import JudgmentsOptions
from custodes.policy.learner import Learner
from custodes.policy.likelihood import Likelihood
from custodes.policy.tuning import LearnsFrom, TuneMethod
from custodes.policy.turns import demonstration_of
from custodes.ranges import Count, ranged
from custodes.registry import method
from custodes.types import InputError, Message, Task


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

    def examples(self, judgments: JudgmentsOptions) -> list[tuple[Task, Sequence[Message]]]:
        if self.chosen:
            pairs = [pair for pair in judgments.read_pairs() if pair.label != 0.5]
            best = {(p.prompt, p.chosen if p.label > 0.5 else p.rejected): p.place for p in pairs}
            return [(Task(place or task_id(prompt), prompt), said) for (prompt, said), place in best.items()]
        file = judgments.read()
        held = file.feedback
        shown = examples_from_judgments(held.judgments, held.tasks.values(), held.episodes.values(), held.origins)
        file.warn()
        good = [example for example in shown if example.label is not False]
        if not good:
            raise InputError(
                f"{file.path} holds no demonstration; give a table with prompt and completion, or with messages, or use "
                "--method dpo, or --chosen, for preferences."
            )
        return [(Task(e.place or task_id(e.prompt), e.prompt), e.completion) for e in good]

    def objective(self, learner: Learner, examples: Sequence[tuple[Task, str | Sequence[Message]]]) -> Likelihood:
        return Likelihood([demonstration_of(learner.lm, task, said) for task, said in examples], self.micro_tokens)
