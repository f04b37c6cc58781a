"""The optimisation loop: sample, score, compare with the reference, learn; the same for every algorithm.

Deviations from the textbook, all deliberate. Log-probabilities before the update come from the learner,
not the sampler, by the same forward passes as the update, so the first ratio is exactly 1. Where a step
is a single update, that extra pass is skipped: the old log-probabilities are the new ones without
gradient. The loss is divided by the number of actions of the whole minibatch, not per episode.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from custodes.lm.checkpoint import checkpoints
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.policy import losses
from custodes.policy.algorithm import Actions, Outcomes, WithValues, algorithm_of
from custodes.policy.config import OptimiseConfig, tasks_of_step, with_seed
from custodes.policy.constraints import Multipliers, read_constraints
from custodes.policy.learner import Forward, Learner, Reference
from custodes.policy.metrics import UpdateMetrics, kl_metrics, sampler_metrics, sampling_metrics, value_metrics
from custodes.policy.rollout import Pack, Rollout, first_of_groups, make_minibatches, make_rollout
from custodes.policy.running import RunningStatistics
from custodes.policy.sizes import learning_rate_for, micro_tokens_for
from custodes.reward.function_reward import FunctionReward
from custodes.train import Metrics, learning_rate_factor
from custodes.types import Engine, Episode, InputError, Reward, Scores, Task

OnStep = Callable[[Metrics, list[Episode], Scores], None]
Stop = Callable[[int], bool]
Stopped = Literal["steps", "kl_budget", "stop"]


@dataclass(frozen=True, slots=True)
class OptimiseResult:
    """How an optimisation ended. The language model that was handed in *is* the optimised policy."""

    steps: int
    """Steps whose update was made."""
    stopped: Stopped
    metrics: list[Metrics]
    """One per step, as in ``metrics.jsonl``."""
    checkpoint: Path | None


def optimise(
    lm: LanguageModel,
    tasks: Sequence[Task],
    reward: Reward | Callable[..., Sequence[float | None]],
    config: OptimiseConfig | None = None,
    *,
    engine: Engine | None = None,
    out: Path | None = None,
    value_init: tuple[Tensor, float] | None = None,
    reference: Reference | None = None,
    on_step: OnStep | None = None,
    stop: Stop | None = None,
    progress: bool = True,
) -> OptimiseResult:
    """Optimise ``lm`` in place on ``tasks`` against ``reward``.

    Called again with the same arguments and ``out`` it goes on after the last checkpoint and ends
    bit for bit where an uninterrupted run would. Ctrl-C ends after the step at hand, with a checkpoint.

    Args:
        reward: any reward, or a function with TRL's signature (:class:`custodes.reward.FunctionReward`).
        engine: samples from ``lm`` (it sees each update); by default in this process.
        out: folder for ``metrics.jsonl`` and ``checkpoints/``; None keeps nothing.
        value_init: direction (d,) and offset of a linear reward head that the value function starts from.
        reference: the frozen policy of the KL term; by default ``lm`` as it comes.
        on_step: called after each step with its metrics and all its episodes and scores. After a run was
            killed, the steps since its last checkpoint are made, and reported, again.
        stop: whether to end after so many steps. A run that goes on asks again, so the answer must depend on that number and
            on what ``on_step`` was told up to there.

    Raises:
        InputError: options, tasks and checkpoints that do not fit. Also where a reward or an environment failed: what was
            learned before is saved, and the same call goes on from there.
        Diverged: a loss or gradient is not finite; names step, episodes and the last good checkpoint.
        KeyboardInterrupt: after Ctrl-C, once the state is saved.
    """
    config, engine = config or OptimiseConfig(), engine or TorchEngine(lm)
    scored_by = reward if isinstance(reward, Reward) else FunctionReward(reward)
    if len(tasks) < config.tasks_per_step:
        raise InputError(
            f"{len(tasks)} tasks for {config.tasks_per_step} per step; give more tasks or lower tasks_per_step."
        )
    loop = _Loop(lm, tasks, scored_by, config, engine, out, value_init, reference, on_step)
    folder = None if out is None else out / "checkpoints"
    metrics = loop.learner.trainer.run(
        config.steps,
        loop.step,
        title="optimising",
        identity=loop.identity,
        rows="episodes",
        named=lambda i: loop.learned_from[i].id,
        checkpoints=folder,
        every=config.checkpoint_every,
        keep_end=True,
        beside=loop,
        stopped=lambda made: loop.over_budget or (stop is not None and stop(made)),
        log=None if out is None else out / "metrics.jsonl",
        progress=progress,
        shown={"proxy": "reward", "kl": "KL"},
    )
    kept = [] if folder is None else checkpoints(folder)
    stopped: Stopped = "kl_budget" if loop.over_budget else "steps" if len(metrics) == config.steps else "stop"
    return OptimiseResult(len(metrics) - loop.over_budget, stopped, metrics, kept[-1] if kept else None)


class _Loop:
    """Everything that a step reads and changes."""

    def __init__(
        self,
        lm: LanguageModel,
        tasks: Sequence[Task],
        reward: Reward,
        config: OptimiseConfig,
        engine: Engine,
        out: Path | None,
        value_init: tuple[Tensor, float] | None,
        reference: Reference | None,
        on_step: OnStep | None,
    ) -> None:
        self.lm, self.tasks, self.reward, self.config, self.engine, self.out = lm, tasks, reward, config, engine, out
        self.on_step = on_step
        self.algorithm = algorithm_of(config.algorithm)
        self.with_values = self.algorithm if isinstance(self.algorithm, WithValues) else None
        self.reference = reference or Reference.of(lm)
        self.learning_rate = learning_rate_for(lm) if config.learning_rate is None else config.learning_rate
        self.micro_tokens = config.micro_tokens or micro_tokens_for(lm)
        self.learner = Learner(
            lm,
            learning_rate=self.learning_rate,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            value_head=self.with_values is not None,
            value_learning_rate=0.0 if self.with_values is None else self.with_values.value_learning_rate,
            value_init=value_init,
            seed=config.sampling.seed,
        )
        self.kl_coefficient = config.kl_coefficient
        self.over_budget = False  # of the KL: the run is over
        self.said_that_steps_are_summed = False
        self.score_statistics = RunningStatistics()
        self.multipliers = Multipliers.begin(read_constraints(config.constrain), config.multiplier_start)

    def step(self, number: int) -> Metrics:
        """Sample, score, learn."""
        self.number, config, start = number, self.config, time.perf_counter()
        tasks = tasks_of_step(self.tasks, config.tasks_per_step, number, config.sampling.seed)
        try:
            with self.reference.acting(self.lm) if self.algorithm.draws_from == "reference" else nullcontext():
                episodes = self.engine.generate(tasks, with_seed(config.sampling, number))
            sampled = time.perf_counter()
            scores = self.reward.score(episodes)
            multipliers = self.multipliers.after(
                scores, config.multiplier_rate, config.multiplier_max, config.constraint_window
            )
            rollout = self._rollout(episodes, multipliers.penalised(scores) if config.constrain else scores)
        except InputError as error:
            kept = "" if self.out is None else "; what was learned is kept, and the same command goes on from here"
            raise InputError(f"step {number + 1}: {str(error).rstrip('.')}{kept}.") from error.__cause__
        self.multipliers, scored = multipliers, time.perf_counter()
        metrics = {"step": float(number + 1), **sampling_metrics(episodes, scores), **multipliers.metrics()}
        metrics |= self._learn(rollout)
        end, tokens = time.perf_counter(), sum(e.actions for e in episodes)
        metrics |= {
            "tokens": float(tokens),
            "tokens_per_second": tokens / (end - start),
            "seconds": end - start,
            "seconds_sampling": sampled - start,
            "seconds_scoring": scored - sampled,
            "seconds_learning": end - scored,
        }
        if self.on_step is not None:
            self.on_step(metrics, episodes, scores)
        return metrics

    def _rollout(self, episodes: list[Episode], scores: Scores) -> Rollout:
        config = self.config
        groups = [i // config.sampling.n for i in range(len(episodes))]
        dtype = torch.promote_types(self.lm.decoder.dtype, torch.float32)
        rollout = make_rollout(episodes, groups, scores, dtype)
        if config.normalise_scores:
            self.score_statistics.add(rollout.scores)
        cut = torch.tensor([e.outcome == "length" for e in rollout.episodes])
        rollout.scores -= config.truncation_penalty * cut
        if config.normalise_scores:
            scale = self.score_statistics.scale()
            rollout.scores /= scale
            rollout.steps = None if rollout.steps is None else rollout.steps / scale
        if self.with_values is not None:
            rollout.values = torch.zeros_like(rollout.logprobs)
        return rollout

    def _learn(self, rollout: Rollout) -> Metrics:
        """Measure the policy and the reference, and update; or, beyond the KL budget, only stop."""
        config, learner, temperature = self.config, self.learner, self.config.sampling.temperature
        rng = np.random.default_rng([config.sampling.seed, self.number])
        own = self.algorithm.draws_from == "policy"  # replies of others tell nothing of the policy's KL
        one_each = self._kl_is_only_told()
        seen = rollout.subset(first_of_groups(rollout.groups)) if one_each else rollout
        minibatches = make_minibatches(seen, config.minibatches, self.micro_tokens, rng)
        packs = [pack for minibatch in minibatches for pack in minibatch]
        measured = own and self._must_measure(len(minibatches))
        if measured:
            learner.measure(packs, temperature, seen.logprobs, seen.values)
        if own:
            learner.measure_reference(packs, temperature, self.reference, seen.reference)

        def told() -> Metrics:
            of_policy = {**kl_metrics(seen), **sampler_metrics(seen)} if own else {}
            return {**of_policy, "kl_coefficient": self.kl_coefficient}

        if config.kl_budget is not None and kl_metrics(seen)["kl"] >= config.kl_budget:
            self.over_budget = True
            return told()

        drawn = len(rollout.episodes)
        outcomes = _outcomes(rollout, 0.0)
        if self.algorithm.selects:
            if outcomes.steps is not None and not self.said_that_steps_are_summed:
                self.said_that_steps_are_summed = True
                warnings.warn(f"{self.algorithm.name} adds the token rewards of each reply up.", stacklevel=2)
            keep = self.algorithm.select(outcomes)
            if not keep.any():  # nothing to learn from: the policy stays as it is
                return {**told(), "kept": 0.0}
            rollout = rollout.subset(keep)
            minibatches = make_minibatches(rollout, config.minibatches, self.micro_tokens, rng)
            measured = measured and not one_each
            if not own and config.epochs * len(minibatches) > 1:
                learner.measure(
                    [pack for minibatch in minibatches for pack in minibatch], temperature, rollout.logprobs
                )
                measured = True
        elif config.skip_equal_scores and outcomes.steps is None and outcomes.totals().unique().numel() == 1:
            if not measured:
                learner.measure(packs, temperature, seen.logprobs)
            return {**told(), "kept": 0.0}
        outcomes = _outcomes(rollout, self.kl_coefficient if config.kl_in == "reward" else 0.0)
        advantages = self.algorithm.advantages(outcomes)
        returns = None if self.with_values is None else self.with_values.returns(outcomes)
        if config.advantage_clip is not None:
            advantages = advantages.clamp(-config.advantage_clip, config.advantage_clip)
        tables = _Tables(rollout, advantages, returns, self.algorithm.inputs(outcomes))
        updates = self._update(tables, minibatches, measured)
        metrics = told() | updates
        if self.algorithm.selects:
            metrics["kept"] = len(rollout.episodes) / drawn
        if returns is not None:
            metrics |= value_metrics(rollout, returns)
        if own:
            self._adapt_kl(metrics["kl"], drawn)
        return metrics

    def _kl_is_only_told(self) -> bool:
        """Whether the KL decides nothing and the loss is a plain likelihood: one episode of each task then tells it."""
        config = self.config
        decides = self.kl_coefficient > 0 or config.kl_target is not None or config.kl_budget is not None
        return self.algorithm.selects and not decides

    def _must_measure(self, minibatches: int) -> bool:
        """Whether log-probabilities and values before the update are needed before its own forward pass."""
        config = self.config
        several = config.epochs > 1 or minibatches > 1 or self.algorithm.selects
        kl_first = config.kl_budget is not None or (config.kl_in == "reward" and self.kl_coefficient > 0)
        return several or kl_first or self.with_values is not None

    def _update(self, tables: _Tables, minibatches: list[list[Pack]], measured: bool) -> Metrics:
        """Every update of a step; fills ``rollout.logprobs`` on the way where they were not measured before."""
        config, metrics, rollout = self.config, UpdateMetrics(), tables.rollout
        self.learned_from = rollout.episodes
        factor = learning_rate_factor(
            self.number, config.steps, config.warmup_steps + 1, config.warmup_steps, config.decay
        )
        for _ in range(config.epochs):
            for packs in minibatches:
                count = self._normaliser(packs)

                def loss(pack: Pack, seen: Forward, count: int = count) -> Tensor:
                    if not measured:
                        rollout.logprobs.view(-1)[pack.place] = seen.logprobs.detach().to(rollout.logprobs)
                    return self._loss(tables.actions(pack, seen), rollout, pack, metrics).sum() / count

                norm = self.learner.update(
                    packs,
                    loss,
                    config.sampling.temperature,
                    entropy=config.entropy_coefficient != 0,
                    learning_rate_factor=factor,
                )
                metrics.norms.append(norm)
        return {**metrics.values(), "learning_rate": self.learning_rate * factor}

    def _normaliser(self, packs: list[Pack]) -> int:
        """What the loss of a minibatch is divided by."""
        if self.algorithm.averages_over == "actions":
            return sum(len(p.targets) for p in packs)
        episodes = len(torch.cat([p.episode for p in packs]).unique())
        return episodes * (self.config.sampling.max_tokens if self.algorithm.averages_over == "longest" else 1)

    def _loss(self, actions: Actions, rollout: Rollout, pack: Pack, metrics: UpdateMetrics) -> Tensor:
        """(M,) policy loss + KL + value loss - entropy bonus."""
        config = self.config
        policy = self.algorithm.loss(actions)
        if config.sampler_correction is not None:  # truncated importance weight of learner against sampler
            sampled = rollout.sampled.view(-1)[pack.place].to(policy.device)
            policy = policy * torch.exp(actions.old - sampled).clamp_max(config.sampler_correction)
        terms = {"policy_loss": policy}
        total = policy
        if config.kl_in != "reward" and self.kl_coefficient > 0:
            k2 = config.kl_in == "k2"
            terms["kl_loss"] = (
                losses.kl_k2_loss(actions.logprobs, actions.reference)
                if k2
                else losses.kl_k3_loss(actions.logprobs, actions.old, actions.reference)
            )
            total = total + self.kl_coefficient * terms["kl_loss"]
        if self.with_values is not None:
            terms["value_loss"] = self.with_values.value_loss(actions)
            total = total + self.with_values.value_coefficient * terms["value_loss"]
        if config.entropy_coefficient:
            total = total - config.entropy_coefficient * actions.entropy
        told = {name: term.detach() for name, term in terms.items()}
        metrics.add(actions.old, actions.logprobs.detach(), self.algorithm.clip_range, **told)
        return total / actions.lengths() if self.algorithm.averages_over == "episodes" else total

    def _adapt_kl(self, kl: float, episodes: int) -> None:
        """The proportional controller of arXiv 1909.08593, section 2.2."""
        if self.config.kl_target is not None:
            error = float(np.clip(kl / self.config.kl_target - 1, -0.2, 0.2))
            self.kl_coefficient *= 1 + error * episodes / self.config.kl_horizon

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be the same run."""
        options = {k: v for k, v in asdict(self.config).items() if k != "checkpoint_every"}
        return {**options, "tasks": [task.id for task in self.tasks], "model": self.lm.fingerprint()}

    def state_dict(self) -> dict[str, Any]:
        """What steps change beside the parameters."""
        return {
            "kl_coefficient": self.kl_coefficient,
            "over_budget": self.over_budget,
            "score_statistics": asdict(self.score_statistics),
            "multipliers": self.multipliers.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kl_coefficient, self.over_budget = state["kl_coefficient"], state["over_budget"]
        self.score_statistics = RunningStatistics(**state["score_statistics"])
        self.multipliers = self.multipliers.restored(state["multipliers"])


def _outcomes(rollout: Rollout, kl_weight: float) -> Outcomes:
    values = None if rollout.values is None else rollout.values.double()
    penalty = kl_weight * rollout.kl().double()
    return Outcomes(
        rollout.rewards(), penalty, rollout.mask, rollout.groups, values, rollout.episodes, rollout.parts, rollout.steps
    )


class _Tables:
    """Everything that the loss of a step reads, (B, T) and (B,) each."""

    def __init__(
        self, rollout: Rollout, advantages: Tensor, returns: Tensor | None, inputs: Mapping[str, Tensor]
    ) -> None:
        dtype = rollout.logprobs.dtype
        self.rollout, self.advantages = rollout, advantages.to(dtype)
        self.returns = None if returns is None else returns.to(dtype)
        self.inputs = {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}

    def actions(self, pack: Pack, seen: Forward) -> Actions:
        def at(table: Tensor) -> Tensor:
            chosen = table.reshape(-1)[pack.place] if table.ndim == 2 else table[pack.episode]
            return chosen.to(seen.logprobs.device)

        return Actions(
            logprobs=seen.logprobs,
            old=at(self.rollout.logprobs),
            reference=at(self.rollout.reference),
            entropy=seen.entropy,
            advantages=at(self.advantages),
            values=seen.values,
            old_values=None if self.rollout.values is None else at(self.rollout.values),
            returns=None if self.returns is None else at(self.returns),
            episode=pack.episode.unique(return_inverse=True)[1].to(seen.logprobs.device),
            inputs={name: at(table) for name, table in self.inputs.items()},
        )
