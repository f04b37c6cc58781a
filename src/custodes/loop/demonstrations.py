"""A reward from demonstrations: each is preferred to what a policy says in its place.

This is inverse reinforcement learning with the likelihood of Bradley and Terry (arXiv 2405.17888). The reward learns to tell
demonstrations from samples of the policy at hand. Then a policy is optimised on the reward and sampled again, as 2401.01335
does with its own policy. The samples of all rounds are kept.

Two things differ from the papers, since a reward learns length and the end of a text first. Cut replies are left out. Of
each prompt's samples only the half whose length is nearest to the demonstration's is compared. What is learned is known up to a constant for each prompt.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from custodes.feedback.collection import Feedback
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.job.workspace import Workspace
from custodes.lm.engine import TorchEngine
from custodes.loop.new_policy import NewPolicy, new_policy
from custodes.policy import OptimiseConfig, optimise
from custodes.ranges import Count, ranged
from custodes.stats import Interval, rate
from custodes.types import Episode, InputError, Message, Reward, Sampling, Task, hash_shown


@dataclass(frozen=True, kw_only=True)
@ranged
class AgainstSamples:
    """How demonstrations teach a reward."""

    against: str = ""
    """The policy whose samples demonstrations are preferred to, so that they teach: a model as --model names one."""
    replies: Count = 4
    """Samples of that policy for each prompt; the half that is nearest to the demonstration in length is compared."""
    rounds: Count = 1
    """Rewards learned one after the other. After each but the last, a policy is optimised on it and sampled again."""
    policy_steps: Count = 24
    """Steps of the policy between two rounds."""
    reply_tokens: Count = 128
    """Longest sample, in tokens; samples that are cut there are left out."""


def compare_with_samples(
    work: Workspace,
    feedback: Feedback,
    options: AgainstSamples,
    seed: int,
    teach: Callable[[Feedback, Path], Reward],
) -> tuple[Feedback, dict[str, Interval]]:
    """The judgments with a comparison for each demonstration and sample in place of the demonstrations.

    ``teach(feedback, folder)`` trains, or finds, the reward of a round. Also, for each round, how often the demonstration
    is the longer one: how far length alone would tell the two apart. Raises InputError where nothing is demonstrated, and
    where no sample can be compared.
    """
    shown = [judgment for judgment in feedback.judgments if isinstance(judgment, Demonstration)]
    if not shown:
        raise InputError(
            f"--against {options.against}: the judgments hold no demonstration; give prompt and completion."
        )
    others = [judgment for judgment in feedback.judgments if not isinstance(judgment, Demonstration)]
    tasks = [feedback.tasks[id] for id in dict.fromkeys(one.task for one in shown)]
    policy = new_policy(NewPolicy(model=options.against), seed)
    sampling = Sampling(n=options.replies, max_tokens=options.reply_tokens)
    compared, longer = Feedback(dict(feedback.tasks), dict(feedback.episodes), others), {}
    for number in range(options.rounds):
        drawn = work.sample(f"against-{number}", TorchEngine(policy), tasks, replace(sampling, seed=seed + number))
        pairs = _pairs(compared, shown, drawn, number)
        if not pairs:
            raise InputError(
                f"--against {options.against}: every one of {len(drawn)} samples is empty, cut, or the demonstration "
                f"itself; raise --reply-tokens from {options.reply_tokens}."
            )
        compared.judgments += pairs
        of = compared.episodes
        longer[f"demonstration longer than the sample, round {number + 1}"] = rate(
            [_length(of[a]) > _length(of[b]) for a, b in (pair.episodes for pair in pairs)],
            [pair.task for pair in pairs],
        )
        if number + 1 < options.rounds:
            folder = work.folder / f"round-{number + 1}"
            reward = teach(replace(compared, judgments=list(compared.judgments)), folder)
            policy = new_policy(NewPolicy(model=options.against), seed)
            steps = OptimiseConfig(
                steps=options.policy_steps, tasks_per_step=min(16, len(tasks)), sampling=replace(sampling, seed=seed)
            )
            optimise(policy, tasks, reward, steps, out=folder / "policy")
    return compared, longer


def _pairs(
    feedback: Feedback, shown: Sequence[Demonstration], drawn: Sequence[Episode], number: int
) -> list[Comparison]:
    """A comparison of each demonstration with the samples that are nearest to it in length."""
    samples: dict[str, list[Episode]] = defaultdict(list)
    for episode in drawn:
        if episode.outcome != "length" and episode.completion.strip():
            samples[episode.task.id].append(episode)
    pairs = []
    for one in shown:
        task = feedback.tasks[one.task]
        ideal = feedback.episode(task, (Message("assistant", one.text),))
        rest = [e for e in samples[task.id] if e.completion.strip() != one.text.strip()]
        rest.sort(key=lambda e: abs(np.log1p(_length(e)) - np.log1p(_length(ideal))))
        for sample in rest[: max(1, len(rest) // 2)]:
            feedback.episodes[sample.id] = sample
            pairs.append(_preferred(one, task, ideal, sample, number))
    return pairs


def _preferred(one: Demonstration, task: Task, ideal: Episode, sample: Episode, number: int) -> Comparison:
    key = hashlib.sha256(f"{number}\0{one.id}\0{sample.id}".encode()).hexdigest()[:24]
    return Comparison(
        id=f"against-{key}",
        annotator=one.annotator,
        task=task.id,
        episodes=(ideal.id, sample.id),
        shown=hash_shown(*(m.content for m in task.messages), ideal.completion, sample.completion),
        verdict="prefer",
        strength=1,
    )


def _length(episode: Episode) -> int:
    return len(episode.completion)
