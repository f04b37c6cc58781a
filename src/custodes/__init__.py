"""Custodes trains language models on human feedback and watches the watchers.

``import custodes as cu`` gives what a notebook starts with. Each name is loaded when it is first asked for.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

# Threads that wait for each other spin, 300,000 turns by default: beside other busy processes they keep the very thread they
# wait for from its processor, and sampling falls to a fifth of its speed. OpenMP reads this once, when torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

HOMES = {
    "custodes.adapters.trl": ("RecordedTraining", "recorded_reward"),
    "custodes.adapters.verl": ("recorded_manager", "recorded_score"),
    "custodes.audit": ("write_report",),
    "custodes.audit.disclosure": ("write_disclosure",),
    "custodes.audit.probes.political": ("political_leaning",),
    "custodes.environments": ("instruction_tasks", "read_tasks"),
    "custodes.errors": ("InputError",),
    "custodes.feedback.annotator_model": ("fit_annotators",),
    "custodes.feedback.joint": ("fit_judgments",),
    "custodes.feedback.kinds.comparison": ("Comparison",),
    "custodes.feedback.reading": ("read_feedback",),
    "custodes.ledger": ("Ledger",),
    "custodes.lm.adapter": ("AdapterConfig",),
    "custodes.lm.engine": ("TorchEngine",),
    "custodes.lm.loading": ("load",),
    "custodes.lm.soup": ("soup",),
    "custodes.policy": ("OptimiseConfig",),
    "custodes.policy.optimise": ("optimise",),
    "custodes.policy.methods": ("Dpo", "Sft"),
    "custodes.policy.search": ("best_of_n",),
    "custodes.policy.tuning": ("tune",),
    "custodes.reward.group_choice": ("choose_groups",),
    "custodes.reward.spread": ("measure_spread",),
    "custodes.reward": (
        "FunctionReward", "RewardConfig", "evaluate_reward", "load_reward", "mixture", "save_reward", "teach_reward",
        "train_reward",
    ),
    "custodes.types": ("Episode", "Message", "Sampling", "Task"),
    "custodes.web.client": ("Client",),
}  # fmt: skip
"""The names of the facade, by the module that each comes from; and ``stats``, a module itself."""

_HOME = {name: home for home, names in HOMES.items() for name in names}
__all__ = sorted([*_HOME, "stats"])

if TYPE_CHECKING:  # what a type checker and an editor see; a test keeps it the same as HOMES
    from custodes import stats as stats
    from custodes.adapters.trl import RecordedTraining as RecordedTraining
    from custodes.adapters.trl import recorded_reward as recorded_reward
    from custodes.adapters.verl import recorded_manager as recorded_manager
    from custodes.adapters.verl import recorded_score as recorded_score
    from custodes.audit import write_report as write_report
    from custodes.audit.disclosure import write_disclosure as write_disclosure
    from custodes.audit.probes.political import political_leaning as political_leaning
    from custodes.environments import instruction_tasks as instruction_tasks
    from custodes.environments import read_tasks as read_tasks
    from custodes.errors import InputError as InputError
    from custodes.feedback.annotator_model import fit_annotators as fit_annotators
    from custodes.feedback.joint import fit_judgments as fit_judgments
    from custodes.feedback.kinds.comparison import Comparison as Comparison
    from custodes.feedback.reading import read_feedback as read_feedback
    from custodes.ledger import Ledger as Ledger
    from custodes.lm.adapter import AdapterConfig as AdapterConfig
    from custodes.lm.engine import TorchEngine as TorchEngine
    from custodes.lm.loading import load as load
    from custodes.lm.soup import soup as soup
    from custodes.policy import OptimiseConfig as OptimiseConfig
    from custodes.policy.methods import Dpo as Dpo
    from custodes.policy.methods import Sft as Sft
    from custodes.policy.optimise import optimise as optimise
    from custodes.policy.search import best_of_n as best_of_n
    from custodes.policy.tuning import tune as tune
    from custodes.reward import FunctionReward as FunctionReward
    from custodes.reward import RewardConfig as RewardConfig
    from custodes.reward import evaluate_reward as evaluate_reward
    from custodes.reward import load_reward as load_reward
    from custodes.reward import mixture as mixture
    from custodes.reward import save_reward as save_reward
    from custodes.reward import teach_reward as teach_reward
    from custodes.reward import train_reward as train_reward
    from custodes.reward.group_choice import choose_groups as choose_groups
    from custodes.reward.spread import measure_spread as measure_spread
    from custodes.types import Episode as Episode
    from custodes.types import Message as Message
    from custodes.types import Sampling as Sampling
    from custodes.types import Task as Task
    from custodes.web.client import Client as Client


def __getattr__(name: str) -> Any:
    if name == "stats":
        return import_module("custodes.stats")
    if name not in _HOME:
        raise AttributeError(f"module 'custodes' has no attribute {name!r}")
    globals()[name] = getattr(import_module(_HOME[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
