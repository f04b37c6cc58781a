"""An optimisation under oversight: who must approve the policy's actions, and the record of what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custodes.audit.sections.oversight import oversight_step
from custodes.feedback.oversight import OverseenTraining, Oversight
from custodes.job.workspace import Workspace
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.policy.environment_reward import EnvironmentReward
from custodes.policy.oversight import (
    OverseenEngine,
    OverseenReward,
    action_rule,
    action_test,
    overseen_environments,
)
from custodes.ranges import ranged
from custodes.types import Engine, Episode, InputError, Reward

ANSWERS = "oversight"
"""Folder of what people said, in the folder of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class PolicyOversight(OverseenTraining):
    """Oversight of a policy whose harm a Python function may know."""

    oversight_truth: str = ""
    """FILE.py:NAME says of an action, above 0, that it should be blocked. Who is simulated needs it, and what oversight catches is
    measured by it; the policy and people never see it."""

    def check(self) -> None:
        """Raises InputError for options that do not fit each other."""
        if self.oversight.startswith("simulated") and not self.oversight_truth:
            raise InputError(
                f"--oversight {self.oversight} catches what is known to be harmful; say what is with --oversight-truth FILE.py:NAME."
            )
        _ = self.reward_of_a_block


class TrainingOversight:
    """Makes the engine and the reward of training, and records what became of each action."""

    def __init__(
        self, options: PolicyOversight, folder: Path, seed: int, text: bool, environment: EnvironmentReward | None
    ) -> None:
        """``environment`` is what episodes are played in, where there is one. Raises InputError for what cannot be."""
        options.check()
        self.truth = (
            action_test(options.oversight_truth, "--oversight-truth", text) if options.oversight_truth else None
        )
        self.rule, self.environment = action_rule(options, text, environment is not None), environment
        self.oversight = Oversight(options, folder / ANSWERS, seed)

    def begin(self, lm: LanguageModel, reward: Reward) -> tuple[Engine, Reward]:
        """What draws the episodes of training, and what scores them."""
        engine: Engine = TorchEngine(lm)
        if self.environment is not None:
            overseen = overseen_environments(self.environment.make, self.truth, self.rule)
            engine = OverseenEngine(TorchEngine(lm), overseen, self.oversight)
            self.environment.ask_of(engine)
        self.reward = OverseenReward(reward, self.oversight, engine, self.truth, self.rule)
        return engine, self.reward

    def record(self, work: Workspace, arm: str, step: int, episodes: Sequence[Episode]) -> None:
        """Record the actions of a step."""
        work.record(f"oversight-{arm}-{step}", oversight_step(step, self.reward.actions, episodes), arm)
