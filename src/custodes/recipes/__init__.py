"""Compositions: whole jobs made of the parts."""

from custodes.recipes.quickstart import QuickstartConfig, quickstart
from custodes.recipes.reward_from_file import EvaluateFromFile, TrainFromFile, evaluate_from_file, train_from_file

__all__ = [
    "EvaluateFromFile",
    "QuickstartConfig",
    "TrainFromFile",
    "evaluate_from_file",
    "quickstart",
    "train_from_file",
]
