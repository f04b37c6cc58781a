"""Training through the curriculum, round by round, with all stages measured after each."""

from custodes.gaming.jobs.curriculum.config import GamingTrain
from custodes.gaming.jobs.curriculum.train import gaming_train

__all__ = ["GamingTrain", "gaming_train"]
