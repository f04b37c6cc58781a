"""Policy optimisation: one loop, many algorithms."""

from custodes.policy.algorithm import Actions, Algorithm, Clipped, Grouped, Outcomes, WithValues, algorithm_of
from custodes.policy.config import OptimiseConfig
from custodes.policy.optimise import OptimiseResult, optimise
from custodes.train import Diverged

__all__ = [
    "Actions",
    "Algorithm",
    "Clipped",
    "Diverged",
    "Grouped",
    "OptimiseConfig",
    "OptimiseResult",
    "Outcomes",
    "WithValues",
    "algorithm_of",
    "optimise",
]
