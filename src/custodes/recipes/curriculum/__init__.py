"""Training through the curriculum, round by round, with all stages measured after each."""

from custodes.recipes.curriculum.config import GamingTrain
from custodes.recipes.curriculum.train import gaming_train

__all__ = ["GamingTrain", "gaming_train"]
