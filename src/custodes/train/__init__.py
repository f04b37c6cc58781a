"""One trainer under every training there is; with ``lm/`` the only code that may know of ranks."""

from custodes.train.schedule import Decay, check_warmup, learning_rate_factor, orders, shuffled_batches
from custodes.train.trainer import (
    Diverged,
    Metrics,
    Objective,
    OnStep,
    Trainer,
    TrainStep,
    gradients_of,
    parameter_groups,
)

__all__ = [
    "Decay",
    "Diverged",
    "Metrics",
    "Objective",
    "OnStep",
    "TrainStep",
    "Trainer",
    "check_warmup",
    "gradients_of",
    "learning_rate_factor",
    "orders",
    "parameter_groups",
    "shuffled_batches",
]
