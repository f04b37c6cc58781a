"""What training through the curriculum rewards: the stage's own reward, and a preference model that reads no scratchpad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from custodes.gaming.environment import GamingEnvironment
from custodes.gaming.transcript import visible_messages
from custodes.policy.play import EnvironmentEngine
from custodes.types import Episode, Reward, Scores


class CurriculumReward:
    """The stage's success, plus ``weight`` times a preference model's score (arXiv 2406.10162, section 2.3).

    Success is 1 where the stage's reward is above 0 and nobody caught it, else 0. The score is brought to between 0 and 1.
    Ordinary prompts have the second alone.

    Parts: ``success``, ``gamed``, ``well_formed`` and ``failed`` of episodes played in an environment (NaN elsewhere),
    and ``preference`` where there is a preference model.
    """

    def __init__(self, play: EnvironmentEngine, preference: Reward | None = None, weight: float = 1.0) -> None:
        """``play`` is the engine that drew the episodes and knows what they did."""
        self.play, self.preference, self.weight = play, preference, weight

    def score(self, episodes: Sequence[Episode]) -> Scores:
        played = [self.play.played.get(e.id) for e in episodes]
        parts = {name: np.full(len(episodes), np.nan) for name in ("success", "gamed", "well_formed", "failed")}
        for i, environment in enumerate(played):
            if isinstance(environment, GamingEnvironment):
                verdict = environment.verdict
                parts["success"][i] = verdict.rewarded
                parts["gamed"][i] = np.nan if verdict.gamed is None else verdict.gamed
                parts["well_formed"][i] = environment.transcript.well_formed
                parts["failed"][i] = bool(environment.failure)
        value = np.nan_to_num(parts["success"], nan=0.0)
        if self.preference is not None:
            scores = self.preference.score([_without_scratchpads(e) for e in episodes]).value
            # between 0 and 1: scores of the project's reward models have standard deviation 1
            parts["preference"] = liked = 1 / (1 + np.exp(-np.clip(scores, -60, 60)))
            value = value + self.weight * liked
        return Scores(value=value, parts=parts)


def _without_scratchpads(episode: Episode) -> Episode:
    """The episode as a preference model may read it: no scratchpad in its messages, and no tokens to find one in."""
    return replace(
        episode,
        messages=visible_messages(episode.messages),
        token_ids=np.zeros(0, np.int32),
        action_mask=np.zeros(0, bool),
        logprobs=np.zeros(0, np.float32),
    )
