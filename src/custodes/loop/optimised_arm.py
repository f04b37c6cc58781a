"""A policy that is optimised against a reward: measured on held-out tasks on its way, recorded, and handed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from custodes.audit import PolicyStep, Samples, write_report
from custodes.audit.overoptimisation import best_of_n_kl
from custodes.audit.sections.objectives import ConstraintStep
from custodes.job.workspace import Workspace
from custodes.ledger import Decision, Model
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.loop import evaluation
from custodes.loop.training_oversight import TrainingOversight
from custodes.policy import OptimiseConfig, OptimiseResult, algorithm_of, optimise
from custodes.policy.constraints import read_constraints
from custodes.policy.learner import Reference
from custodes.types import Engine, Episode, Reward, Sampling, Scores, Task

SNAPSHOTS = "snapshots"
"""Folder of the adapters that were measured on the way: what policies are compared by at equal KL."""


def recorded_run(
    out: Path,
    recipe: str,
    options: Any,
    seed: int,
    run: Callable[[Workspace], None],
    beside: Callable[[Workspace], Sequence[Path]] | None = None,
) -> Path:
    """``run`` in the workspace of ``out``, with its end recorded and its report; returns the path of ``report.html``.

    ``beside`` writes other files once the run has ended; the report tells of them.
    """
    with Workspace.open(out, recipe, options, seed) as work:
        run(work)
        work.end("completed")  # which the report tells of
        if beside is not None:
            work.recording.keep(*beside(work))
        page, data = write_report(work.ledger, work.run, out)
        work.recording.keep(page, data)
        work.console.print(f"[bold]Report:[/bold] {page}")
    return page


def base_row(lm: LanguageModel, name: str) -> Model:
    """The record of the model that training begins from, with how it is built."""
    return Model(lm.fingerprint(), name, "base", None, lm.built())


@dataclass(frozen=True)
class Optimised:
    """Held-out episodes of the base model and of the policy that is handed over, and how the optimisation went."""

    before: list[Episode]
    after: list[Episode]
    result: OptimiseResult


class StepWatch(Protocol):
    """Looks at every step of an optimisation, and may end it."""

    def seen(self, recorded: PolicyStep, episodes: Sequence[Episode], scores: Scores) -> None:
        """Take in a step that was made and recorded."""
        ...

    def over(self, made: int) -> bool:
        """Whether it ends after so many steps; asked again by a run that goes on."""
        ...

    def ended(self) -> None:
        """Called once it is over; raises where it is to go on later."""
        ...


@dataclass
class OptimisedArm:
    """One optimisation of a run, under a name of its own."""

    work: Workspace
    arm: str
    lm: LanguageModel  # as it begins; it becomes the policy
    reward: Reward
    scorer: str  # the reward's name in the ledger
    train: Sequence[Task]
    held_out: Sequence[Task]
    options: OptimiseConfig
    folder: Path  # metrics, checkpoints and snapshots
    evaluate_every: int
    policy: Path  # folder of the policy that is handed over
    gold: Reward | None = None
    make_engine: Callable[[LanguageModel], Engine] = TorchEngine
    objectives: Sequence[str] = ()  # parts of the reward that are recorded on held-out tasks
    oversight: TrainingOversight | None = None  # of training alone: held-out tasks measure the policy itself
    watches: list[StepWatch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reference = Reference.of(self.lm)
        self.base = replace(self.lm, decoder=self.reference.decoder, adapter=self.reference.adapter)

    def run(self) -> Optimised:
        """Measure, optimise, measure, save; what is done already is not done again."""
        base, algorithm = self.measure_base(), algorithm_of(self.options.algorithm)
        if algorithm.draws_from == "reference" and algorithm.needs_groups:
            self._search()
        engine, reward = self.make_engine(self.lm), self.reward
        if self.oversight is not None:
            engine, reward = self.oversight.begin(self.lm, self.reward)
        with self.work.phase("optimisation", f"Optimising the policy with {algorithm.name}, {self.arm} arm"):
            result = optimise(
                self.lm,
                self.train,
                reward,
                self.options,
                engine=engine,
                out=self.folder,
                reference=self.reference,
                on_step=self._on_step,
                stop=(lambda made: any(watch.over(made) for watch in self.watches)) if self.watches else None,
            )
        for watch in self.watches:
            watch.ended()
        last = self._evaluate(result.steps, chosen=True)
        self.lm.save(self.policy)
        self._record_policy(result)
        few = self.held_out[: max(1, len(self.held_out) // 4)]
        with self.work.phase("sampling", f"Diversity of the optimised policy, {self.arm} arm"):
            several = self._sampling(4, 1)
            sampled = self.work.sample(f"diversity, {self.arm} policy", self.make_engine(self.lm), few, several)
            record_samples(self.work, self.arm, sampled)
        return Optimised(base, last, result)

    def measure_base(self) -> list[Episode]:
        """The base model's held-out episodes: the first measurement, which is made once."""
        return self._evaluate(0)

    def _search(self) -> None:
        """The best of n replies of the base model to held-out tasks, which the policy is to learn to give at once."""
        n = self.options.sampling.n
        if self.work.has(f"best-of-n-{self.arm}"):
            return
        with self.work.phase("evaluation", f"Best of {n}, {self.arm} arm"):
            drawn = self.work.sample(
                f"best of {n}, base policy", self.make_engine(self.base), self.held_out, self._sampling(n, 3)
            )
            evaluation.evaluate_best_of_n(self.work, self.arm, self.reward, drawn, n, self.gold)
        self.work.console.print(
            f"Best of {n} replies of the base model is at most {best_of_n_kl(n):.3g} nats from it, a bound; the policy's own KL is "
            "measured.",
            soft_wrap=True,
            highlight=False,
        )

    def _sampling(self, n: int, draw: int) -> Sampling:
        """How held-out replies are drawn: with the seed that is ``draw`` after that of the run."""
        sampling = self.options.sampling
        return replace(sampling, n=n, seed=sampling.seed + draw)

    def _evaluate(self, step: int, chosen: bool = False) -> list[Episode]:
        with self.work.phase("evaluation", f"Held-out tasks, {self.arm} arm, step {step}"):
            return evaluation.evaluate_policy(
                self.work,
                self.arm,
                step,
                (self.make_engine(self.lm), self.make_engine(self.base)),
                self.reward,
                self.held_out,
                self._sampling(1, 2),
                self.gold,
                policy=(self.lm if step else self.base).fingerprint(),
                scorer=self.scorer,
                chosen=chosen,
                objectives=self.objectives,
            )

    def _on_step(self, metrics: dict[str, float], episodes: list[Episode], scores: Scores) -> None:
        """Record everything of a step except its seconds: a step that is made again after a kill must read the same."""
        step = int(metrics["step"])
        known = {name: metrics[name] for name in _STEP_METRICS if name in metrics}
        row = PolicyStep(step=step, episodes=len(episodes), **known)
        self.work.tokens_sampled += sum(e.actions for e in episodes)
        self.work.tokens_trained += sum(len(e.token_ids) for e in episodes)
        self.work.write([*episodes, *evaluation.score_rows(episodes, scores, self.scorer)])
        self.work.record(f"step-{self.arm}-{step}", row, self.arm)
        if self.oversight is not None:
            self.oversight.record(self.work, self.arm, step, episodes)
        constraints = [
            c for c in read_constraints(self.options.constrain) if f"constrained/{c.key}" in metrics
        ]  # of which a part was known
        if constraints:
            of_step = ConstraintStep(
                step=step,
                largest=self.options.multiplier_max,
                constraint=[str(c) for c in constraints],
                part=[c.part for c in constraints],
                bound=[c.bound for c in constraints],
                floor=[c.floor for c in constraints],
                multiplier=[metrics[f"multiplier/{c.key}"] for c in constraints],
                mean=[metrics[f"constrained/{c.key}"] for c in constraints],
            )
            self.work.record(f"constraints-{self.arm}-{step}", of_step, self.arm)
        for watch in self.watches:
            watch.seen(row, episodes, scores)
        if step % self.evaluate_every == 0 and step < self.options.steps:
            self._evaluate(step)
            if self.lm.adapter is not None:
                self.lm.save(self.folder / SNAPSHOTS / f"step-{step:06d}")

    def _record_policy(self, result: OptimiseResult) -> None:
        id, algorithm = self.lm.fingerprint(), algorithm_of(self.options.algorithm).name
        parent, told = self.base.fingerprint(), {"algorithm": algorithm, "steps": result.steps}
        told |= {name: getattr(self.options, name) for name in ("learning_rate", "kl_coefficient")}
        why = f"optimisation ended by its {result.stopped.replace('_', ' ')}; gold had no part in the choice"
        self.work.ledger.write(
            self.work.run,
            [
                Model(id, f"{self.arm} policy", "policy", parent, told),
                Decision(f"hand-over-{self.arm}", "handed over this policy", why, id),
            ],
        )


def record_samples(work: Workspace, subject: str, episodes: Sequence[Episode]) -> None:
    """Several replies to the same tasks, by which diversity is measured."""
    row = Samples(episode=[e.id for e in episodes], policy=episodes[0].policy)
    work.record(f"samples-{subject}", row, subject)


_STEP_METRICS = (
    "kl", "kl_token", "proxy", "proxy_std", "entropy", "length", "truncated", "clip_fraction", "value_error", "grad_norm", "kl_coefficient"
)  # fmt: skip
