"""What an optimisation would take: one step is really made, on a model that is thrown away, and the rest is counted."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from custodes.environments.duplicates import NearDuplicate
from custodes.lm.loading import LanguageModel
from custodes.page import duration, number
from custodes.policy import OptimiseConfig, optimise
from custodes.policy.sizes import learning_rate_for, micro_tokens_for, total_memory
from custodes.reward import Mixture
from custodes.reward.rubric import RubricReward
from custodes.types import Engine, Reward, Sampling, Task
from custodes.wording import counted


@dataclass(frozen=True)
class Plan:
    """Tasks, memory, time and cost of an optimisation."""

    train: int
    held_out: int
    near_duplicates: int
    steps: int
    replies: int
    """Of training and of all evaluations."""
    judge_requests: int
    """Questions to judges behind endpoints."""
    micro_tokens: int
    learning_rate: float
    peak_memory_gb: float
    """The most that this process held while it made one step."""
    memory_gb: float
    seconds_of_a_step: float
    """Measured just now, on this machine as busy as it is."""
    seconds: float
    """Of all steps and evaluations."""

    def sentences(self) -> list[str]:
        """The same in words, a sentence for each of them."""
        alike = f", {self.near_duplicates} of them nearly the same as a training prompt" if self.near_duplicates else ""
        work = f"{counted(self.steps, 'step')}; {self.replies:,} replies with all evaluations"
        memory = f"{self.peak_memory_gb:g} GB of {self.memory_gb:g} at the peak of one step"
        asked = (
            f"{self.judge_requests:,} questions to the judge"
            if self.judge_requests
            else "no endpoint is asked anything"
        )
        return [
            f"Tasks: {counted(self.train, 'prompt')} to train on, {self.held_out:,} held out{alike}.",
            f"Work: {work}; learning rate {self.learning_rate:g}.",
            f"Memory: {memory}, in micro-batches of {self.micro_tokens:,} tokens.",
            f"Time: about {duration(self.seconds)}; one step took {number(self.seconds_of_a_step)} s just now.",
            f"Cost: {asked}.",
        ]


def plan_of(
    lm: LanguageModel,
    reward: Reward,
    tasks: tuple[Sequence[Task], Sequence[Task], Sequence[NearDuplicate]],
    options: OptimiseConfig,
    engine: Engine,
    evaluate_every: int,
) -> Plan:
    """Make one step with ``lm``, which must not be used any more, and one evaluation's share of replies.

    ``tasks`` are those to train on, those held out, and which of these are nearly the same.
    """
    train, held_out, duplicates = tasks
    some = held_out[: min(len(held_out), 16)]
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        reward.score(engine.generate(some, Sampling(max_tokens=options.sampling.max_tokens)))
        evaluation = (time.perf_counter() - began) / len(some) * len(held_out)
    began = time.perf_counter()
    optimise(lm, train, reward, replace(options, steps=1, warmup_steps=0), engine=engine, progress=False)
    step = time.perf_counter() - began
    evaluations = 2 + max(0, options.steps - 1) // evaluate_every
    replies = options.steps * options.tasks_per_step * options.sampling.n + evaluations * len(held_out)
    device = lm.decoder.device
    peak = (
        torch.cuda.max_memory_allocated(device)
        if device.type == "cuda"
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    return Plan(
        train=len(train),
        held_out=len(held_out),
        near_duplicates=len(duplicates),
        steps=options.steps,
        replies=replies,
        judge_requests=replies * _questions(reward),
        micro_tokens=options.micro_tokens or micro_tokens_for(lm),
        learning_rate=learning_rate_for(lm) if options.learning_rate is None else options.learning_rate,
        peak_memory_gb=round(peak / 1e9, 2),
        memory_gb=round(total_memory(device) / 1e9, 1),
        seconds_of_a_step=round(step, 3),
        seconds=round(options.steps * step + evaluations * evaluation),
    )


def _questions(reward: Reward) -> int:
    """Questions to judges about one reply."""
    if isinstance(reward, Mixture):
        return sum(_questions(term) for _, term, _ in reward.terms)
    return len(reward.rubric.principles) if isinstance(reward, RubricReward) else 0
