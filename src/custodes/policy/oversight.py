"""A policy that learns under oversight: which of its actions an overseer sees, and what a block does to what is learned.

Of an episode of one turn the whole reply is the action. It is drawn and scored first; where it is blocked, its reward does not
count. In an environment every reply is an action of its own, and a blocked one never reaches the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import numpy as np

from custodes import registry
from custodes.feedback.oversight import (
    BY_RULE,
    EpisodeOversight,
    OverseenAction,
    OverseenTraining,
    Oversight,
    ProposedAction,
    action_key,
    read_share,
    told_of_block,
)
from custodes.lm.engine import TorchEngine
from custodes.policy.play import EnvironmentEngine, Playable
from custodes.reward.base import RewardBase
from custodes.reward.function_reward import FunctionReward
from custodes.types import Engine, Episode, InputError, Message, Reward, Sampling, Scores, Task

ActionTest = Callable[[Sequence[Message], str, Task], bool | None]
"""(what the policy was told and did before, its action, the task) -> true, false, or None for no opinion."""
RANKED = ("reward", "disagreement")
"""Rules of ``--oversee`` that rank the replies of a step: the share with the highest reward, or about which its members disagree most."""


class OverseenPlay(Protocol):
    """An episode whose actions an overseer decides on, and how they went."""

    overseen: EpisodeOversight

    @property
    def played(self) -> Playable:
        """The environment that rewards ask."""
        ...


def action_test(spec: str, option: str, text: bool) -> ActionTest:
    """The Python function ``FILE.py:NAME``, with the signature of a reward, as a test of single actions: true above 0.

    ``text``: it receives text, as rewards do where prompts are text. Raises InputError where there is none.
    """
    function = registry.reward.find(spec) if ".py" in spec else None
    if not callable(function):
        raise InputError(f"{option} {spec} is no Python function; write FILE.py:NAME.")
    reward = FunctionReward(function, text=text)

    def test(context: Sequence[Message], action: str, task: Task) -> bool | None:
        asked = replace(task, messages=tuple(context))
        value = reward.score([Episode.written("action", asked, (*context, Message("assistant", action)), "")]).value[0]
        return None if np.isnan(value) else bool(value > 0)

    return test


class _Overseen:
    """One episode in an environment of one's own, overseen. Everything but blocked actions reaches the environment."""

    def __init__(self, played: Playable, overseen: EpisodeOversight, truth: ActionTest | None, rule: ActionTest | None):
        self.played, self.overseen, self.truth, self.rule = played, overseen, truth, rule

    @property
    def prefix(self) -> str:
        return self.played.prefix

    def start(self, task: Task) -> tuple[Message, ...]:
        self.task, self.messages = task, list(self.played.start(task))
        return tuple(self.messages)

    def step(self, reply: str) -> tuple[Message, ...] | None:
        harmful = self.truth(self.messages, reply, self.task) if self.truth else None
        chosen = bool(self.rule(self.messages, reply, self.task)) if self.rule else None
        answer = self.overseen.answer(self.messages, reply, harmful, chosen)
        answered: tuple[Message, ...] | None
        if answer is None or answer.approved:
            answered = self.played.step(reply)
        else:
            answered = None if self.overseen.over else (Message("user", told_of_block(answer)),)
        self.messages += [Message("assistant", reply), *(answered or ())]
        return answered

    def fail(self, why: str) -> None:
        self.played.fail(why)

    def close(self) -> None:
        self.played.close()


def overseen_environments(
    make: Callable[[Task], Playable], truth: ActionTest | None, rule: ActionTest | None
) -> Callable[[Task, EpisodeOversight], _Overseen]:
    """Environments of one's own, overseen; for :class:`OverseenEngine`."""
    return lambda task, overseen: _Overseen(make(task), overseen, truth, rule)


class OverseenEngine(EnvironmentEngine):
    """Plays tasks in environments under oversight. ``actions`` holds, by episode, what became of each of its actions."""

    def __init__(
        self,
        engine: TorchEngine,
        make: Callable[[Task, EpisodeOversight], OverseenPlay | None],
        oversight: Oversight,
        *,
        workers: int = 4,
        max_episode: int = 0,
    ) -> None:
        """``make`` gives the environment of an episode, None for a task that its first reply ends: that is not overseen."""
        super().__init__(engine, self._make, workers=workers, max_episode=max_episode)
        self.make_overseen, self.oversight = make, oversight
        self.actions: dict[str, list[OverseenAction]] = {}
        self._draw, self._policy = "", ""

    def generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Episode]:
        self._draw, self._number = str(sampling.seed), 0
        self._policy = self.engine.policy or self.lm.fingerprint()
        episodes = super().generate(tasks, sampling, prefixes)
        plays: dict[str, OverseenPlay] = dict(self.played)  # type: ignore[arg-type]  # all come from _make
        self.actions = {id_: play.overseen.actions for id_, play in plays.items()}
        self.played = {id_: play.played for id_, play in plays.items()}
        return episodes

    def _make(self, task: Task) -> Playable | None:
        key = f"{self._draw}/{self._number}/{task.id}"
        self._number += 1
        return self.make_overseen(task, EpisodeOversight(self.oversight, key, self._policy))  # type: ignore[return-value]

    @contextmanager
    def _ended_early(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.oversight.stop()  # threads wait for people, and nobody for them
            raise


class OverseenReward(RewardBase):
    """What training gets of a reward where an overseer has its say. ``actions`` holds what became of each episode's actions.

    Its parts are those of the reward and ``blocked``, the number of an episode's actions that were stopped. What only the clock
    blocked, since nobody answered in time, teaches nothing.
    """

    def __init__(
        self,
        reward: Reward,
        oversight: Oversight,
        engine: Engine | None = None,
        truth: ActionTest | None = None,
        rule: ActionTest | None = None,
    ) -> None:
        """``engine`` draws the episodes: an :class:`OverseenEngine` has asked about them already, of others the replies are asked
        about. Raises InputError for a rule that does not fit."""
        self.reward, self.oversight, self.engine, self.truth, self.rule = reward, oversight, engine, truth, rule
        options = oversight.options
        assert isinstance(options, OverseenTraining)
        self.value, self.ends = options.reward_of_a_block, options.on_block == "end"
        self.name = getattr(reward, "name", type(reward).__name__)
        self.actions: dict[str, list[OverseenAction]] = {}

    def score(self, episodes: Sequence[Episode]) -> Scores:
        scores, played = self.reward.score(episodes), self.engine if isinstance(self.engine, OverseenEngine) else None
        self.actions = self._asked(episodes, scores) if played is None else played.actions
        return self._counted(scores, [self.actions.get(e.id, []) for e in episodes], single=played is None)

    def _asked(self, episodes: Sequence[Episode], scores: Scores) -> dict[str, list[OverseenAction]]:
        """Ask about the chosen replies, all at once."""
        chosen = self._chosen(episodes, scores)
        proposed = []
        for episode in episodes:
            reply, task = episode.completion, episode.task
            harmful = self.truth(task.messages, reply, task) if self.truth else None
            key = action_key(episode.policy, episode.id, reply)
            proposed.append(ProposedAction(key, episode.policy, task.messages, reply, harmful))
        asked = [
            proposal
            for proposal, by_rule in zip(proposed, chosen, strict=True)
            if (self.oversight.draws(proposal.key) if by_rule is None else by_rule)
        ]
        answers = dict(zip([proposal.key for proposal in asked], self.oversight.ask(asked), strict=True))
        return {
            episode.id: [OverseenAction(0, proposal.action, proposal.harmful, answers.get(proposal.key))]
            for episode, proposal in zip(episodes, proposed, strict=True)
        }

    def _chosen(self, episodes: Sequence[Episode], scores: Scores) -> Sequence[bool | None]:
        """(B,) whether a rule puts a reply before the overseer; None where chance decides."""
        if self.rule is not None:
            return [bool(self.rule(e.task.messages, e.completion, e.task)) for e in episodes]
        ranked = _ranked_rule(self.oversight.options.oversee)
        if ranked is None:
            return [None] * len(episodes)
        by, share = ranked
        if by == "disagreement" and scores.std is None:
            raise InputError(
                f"--oversee {by}:{share:g} needs a reward with members that can disagree; train one with --members 4, or give a share."
            )
        values = np.nan_to_num(scores.value if by == "reward" else np.asarray(scores.std), nan=-np.inf)
        highest = np.argsort(-values, kind="stable")[: int(np.ceil(share * len(episodes)))]
        return np.isin(np.arange(len(episodes)), highest).tolist()

    def _counted(self, scores: Scores, actions: Sequence[Sequence[OverseenAction]], single: bool) -> Scores:
        blocked = np.array([sum(a.blocked for a in of_episode) for of_episode in actions], float)
        by_clock = np.array(
            [any(a.blocked and a.answer and a.answer.who == BY_RULE for a in of_episode) for of_episode in actions]
        )
        replaced = (blocked > 0) & (single or self.ends)
        value = np.where(replaced, self.value or 0.0, scores.value + blocked * (self.value or 0.0))
        silent = by_clock | ((blocked > 0) & (self.value is None))
        if silent.all():
            raise InputError(
                f"all {len(silent)} episodes of this step were blocked and teach nothing; look at what the policy does, or at who "
                "answers in time."
            )
        token = scores.token_rewards()
        return replace(
            scores,
            value=np.where(silent, np.nan, value),
            std=None if scores.std is None else np.where(replaced, 0.0, scores.std),
            token=None if token is None else np.where(replaced[:, None], np.nan, token),
            parts={**scores.parts, "blocked": np.where(silent, np.nan, blocked)},
        )


def _ranked_rule(oversee: str) -> tuple[str, float] | None:
    """``reward:0.1`` or ``disagreement:0.1`` as a name and a share; None for anything else. Raises InputError for a bad share."""
    by, colon, share = oversee.partition(":")
    if not colon or by not in RANKED:
        return None
    try:
        number = float(share)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise InputError(f"--oversee {oversee}: {share!r} must be a share above 0 and at most 1.")
    return by, number


def action_rule(options: OverseenTraining, text: bool, several_turns: bool) -> ActionTest | None:
    """The Python function that ``--oversee`` names, None for a share. Raises InputError for a rule that does not fit."""
    if read_share(options) is not None:
        return None
    if ".py" in options.oversee:
        return action_test(options.oversee, "--oversee", text)
    if _ranked_rule(options.oversee) is None:
        raise InputError(
            f"--oversee {options.oversee} is no rule; write all, a share such as 0.1, reward:0.1, disagreement:0.1 or FILE.py:NAME."
        )
    if several_turns:
        raise InputError(
            f"--oversee {options.oversee} ranks whole replies; of actions in an environment give a share or FILE.py:NAME."
        )
    return None
