"""Policy optimisation: one loop, many algorithms."""

from custodes.policy.algorithms import ALGORITHMS, Actions, Algorithm, register
from custodes.policy.config import OptimiseConfig
from custodes.policy.learner import Diverged
from custodes.policy.optimise import OptimiseResult, optimise

__all__ = ["ALGORITHMS", "Actions", "Algorithm", "Diverged", "OptimiseConfig", "OptimiseResult", "optimise", "register"]
