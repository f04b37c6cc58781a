"""What an environment of one's own says of its episodes, as a reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakSet

import numpy as np

from custodes.environments.own import OwnPlay
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.policy.play import EnvironmentEngine
from custodes.reward.base import RewardBase
from custodes.types import Episode, Scores, Task


class EnvironmentReward(RewardBase):
    """The ``reward()`` of the environment that each episode was played in; NaN where it has no opinion.

    It asks the engines that :meth:`engine` made. An episode that none of them has played last, since it was read back from the
    ledger, is played again: its replies are said to a new environment, which is expected to answer as it did.
    """

    name = "environment"

    def __init__(self, make: Callable[[Task], OwnPlay]) -> None:
        self.make = make
        self._engines: WeakSet[EnvironmentEngine] = WeakSet()

    def engine(self, lm: LanguageModel) -> EnvironmentEngine:
        """An engine whose episodes are played in these environments."""
        engine = EnvironmentEngine(TorchEngine(lm), self.make)
        self.ask_of(engine)
        return engine

    def ask_of(self, engine: EnvironmentEngine) -> None:
        """Episodes that this engine has played last are known from now on."""
        self._engines.add(engine)

    def score(self, episodes: Sequence[Episode]) -> Scores:
        said = [self._play(episode).reward() for episode in episodes]
        value = np.array([np.nan if x is None else x for x in said], float)
        return Scores(value=value, parts={self.name: value})

    def _play(self, episode: Episode) -> OwnPlay:
        for engine in self._engines:
            if isinstance(play := engine.played.get(episode.id), OwnPlay):
                return play
        play = self.make(episode.task)
        opening = play.start(episode.task)
        for message in episode.messages[len(opening) :]:
            if message.role == "assistant":
                play.step(message.content)
        play.close()
        return play
