"""Every option of a policy optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np

from custodes.policy.algorithm import Algorithm, algorithm_of
from custodes.policy.constraints import read_constraints
from custodes.ranges import Count, Positive, at_least, ranged
from custodes.registry import Chosen, algorithm
from custodes.train import Decay
from custodes.types import InputError, Sampling, Task

KlIn = Literal["reward", "k2", "k3"]


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class OptimiseConfig:
    """How a policy is optimised."""

    algorithm: Annotated[Algorithm | str, Chosen(algorithm)] = "ppo"
    """ppo, grpo, dr_grpo, rloo, reinforce_pp, best_of_n, expert_iteration, all_successes, or one of your own, FILE.py:Name.
    Its own options join these."""
    steps: Count = 50
    """Steps of optimisation: sample, score, update."""
    tasks_per_step: Count = 16
    """Different tasks per step; several replies are drawn to each."""
    sampling: Sampling = field(default_factory=lambda: Sampling(n=4))
    """How replies are drawn. Its seed decides everything of the run that is drawn; each step draws anew."""
    learning_rate: float | None = None
    """Of the policy's weights; None: by the size of the model, 4e-4 for adapters of small ones and 1e-5 for all their weights."""
    warmup_steps: int = 0
    """Updates over which the learning rate rises from 0."""
    decay: Decay = "constant"
    """How the learning rate falls to 0 by the end: constant (it does not), linear or cosine."""
    weight_decay: float = 0.0
    """AdamW's decay of matrices; norms and biases do not decay."""
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm, those of each model on their own."""
    epochs: Count = 1
    """Passes over the episodes of a step."""
    minibatches: Count = 1
    """Updates per pass; the episodes of one task stay together."""
    micro_tokens: Count | None = None
    """Tokens per forward and backward pass: bounds memory and leaves the result as it is. None: 2048, or as many as fit."""
    advantage_clip: Positive | None = None
    """Advantages are kept within plus and minus this."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    kl_coefficient: float = 0.05
    """Weight of the KL divergence from the reference."""
    kl_in: KlIn = "reward"
    """Where the KL enters: k1 in the reward (unbiased for whole episodes), or k2 or k3 in the loss."""
    kl_target: Positive | None = None
    """Nats per episode that the coefficient adapts towards; None keeps the coefficient fixed."""
    kl_horizon: Count = 1000
    """Episodes over which an error of 100 % would double the coefficient, where it adapts."""
    kl_budget: Positive | None = None
    """Stop as soon as the policy is so many nats an episode from the reference."""
    truncation_penalty: float = 0.0
    """Taken from the score of a reply that was cut at ``sampling.max_tokens``, in units of the reward (before any
    ``normalise_scores``)."""
    normalise_scores: bool = False
    """Divide scores by their running standard deviation, but by no less than a hundredth of their size; their mean is
    kept. Scores that were all equal stay as they are."""
    skip_equal_scores: bool = False
    """Leave the policy as it is in a step whose episodes all scored the same: what is left of the advantage (the value
    head's errors, the KL) would be scaled up to unit variance and learned from. Algorithms that select their episodes
    (expert iteration, all successes) decide by themselves."""
    constrain: tuple[str, ...] = ()
    """Bounds that the means of parts of the reward must keep: 'harmless>=0.2', 'length<=0.2'. Each has a multiplier, which
    grows while its bound is broken and shrinks while it is kept (arXiv 2310.12773)."""
    multiplier_start: Positive = 1.0
    """Of each constraint, at the start."""
    multiplier_rate: float = 0.1
    """How fast multipliers follow: of their logarithms, a unit of excess and a step."""
    multiplier_max: Positive = 5.0
    """The largest that a multiplier becomes."""
    constraint_window: Count = 128
    """Episodes whose mean a multiplier follows; over few of them it swings."""
    sampler_correction: Annotated[float, at_least(1)] | None = None
    """Largest importance weight learner/sampler on an action, for a sampler in another precision or engine."""
    checkpoint_every: Count = 10
    """Updates between checkpoints."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", algorithm_of(self.algorithm))
        for name, ok, right in (
            ("warmup_steps", self.warmup_steps <= self.steps, f"at most steps ({self.steps})"),
            ("decay", self.decay in get_args(Decay), f"one of {', '.join(get_args(Decay))}"),
            ("minibatches", self.minibatches <= self.tasks_per_step, "from 1 to tasks_per_step"),
            ("multiplier_start", self.multiplier_start <= self.multiplier_max, "at most multiplier_max"),
            ("kl_in", self.kl_in in get_args(KlIn), f"one of {', '.join(get_args(KlIn))}"),
        ):
            if not ok:
                raise InputError(f"option {name} is {getattr(self, name)!r}; it must be {right}.")
        read_constraints(self.constrain)
        if self.kl_target is not None and self.kl_coefficient == 0:
            raise InputError("option kl_target needs a kl_coefficient above 0 to adapt.")
        if (chosen := algorithm_of(self.algorithm)).needs_groups and self.sampling.n < 2:
            raise InputError(f"algorithm {chosen.name} compares replies to one task; sampling.n must be 2 or more.")
        own = {"kl_in": "reward", "kl_target": None, "kl_budget": None, "sampler_correction": None}
        if chosen.draws_from == "reference" and (asked := [n for n, off in own.items() if getattr(self, n) != off]):
            raise InputError(
                f"algorithm {chosen.name} draws from the model as it came, and option {asked[0]} needs replies of the policy; "
                f"leave {asked[0]} out."
            )
        _check_on_policy(self.sampling)


def _check_on_policy(sampling: Sampling) -> None:
    """Refuse sampling whose probabilities are not those that the learner differentiates."""
    neutral = {"top_k": 0, "top_p": 1.0, "min_tokens": 0}
    for name, off in neutral.items():
        if getattr(sampling, name) != off:
            raise InputError(
                f"sampling option {name} is {getattr(sampling, name)} during training: replies would come from another "
                f"distribution than the one whose gradient is taken; set it to {off} (it is free for evaluation)."
            )
    if sampling.temperature == 0:
        raise InputError("sampling option temperature is 0 during training: greedy replies carry no gradient; use 1.")


def tasks_of_step(tasks: Sequence[Task], count: int, step: int, seed: int) -> list[Task]:
    """The tasks of a step: every pass over all of them in a new order, a function of seed and step alone."""
    chosen: list[Task] = []
    for position in range(step * count, (step + 1) * count):
        epoch, place = divmod(position, len(tasks))
        chosen.append(tasks[int(np.random.default_rng([seed, epoch]).permutation(len(tasks))[place])])
    return chosen


def with_seed(sampling: Sampling, step: int) -> Sampling:
    """The sampling of one step: same options, a seed of its own."""
    return replace(sampling, seed=int(np.random.SeedSequence([sampling.seed, step]).generate_state(1)[0]))
