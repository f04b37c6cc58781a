"""Rewards: functions, mixtures, and models learned from preferences."""

from custodes.reward.base import Mixture, RewardBase, mixture
from custodes.reward.config import RewardConfig
from custodes.reward.evaluate import (
    PairScores,
    RewardEvaluation,
    best_temperature,
    calibrate,
    evaluate_reward,
    score_pairs,
)
from custodes.reward.function_reward import FunctionReward
from custodes.reward.model import RewardModel
from custodes.reward.objective import Course, Lesson, LessonBatch, Material, RewardObjective
from custodes.reward.objectives.pairs import Pairs, preference_loss
from custodes.reward.storage import export, load_reward, save_reward
from custodes.reward.train import teach_reward, train_reward

__all__ = [
    "Course",
    "FunctionReward",
    "Lesson",
    "LessonBatch",
    "Material",
    "Mixture",
    "PairScores",
    "Pairs",
    "RewardBase",
    "RewardConfig",
    "RewardEvaluation",
    "RewardModel",
    "RewardObjective",
    "best_temperature",
    "calibrate",
    "evaluate_reward",
    "export",
    "load_reward",
    "mixture",
    "preference_loss",
    "save_reward",
    "score_pairs",
    "teach_reward",
    "train_reward",
]
