"""What a policy is asked: prompt sets, and instructions whose fulfilment code can check."""

from custodes.environments.checks import CHECKS
from custodes.environments.instructions import GoldReward, check_results, gold, instruction_tasks
from custodes.environments.prompts import prompts_are_text, read_tasks, task_id

__all__ = [
    "CHECKS",
    "GoldReward",
    "check_results",
    "gold",
    "instruction_tasks",
    "prompts_are_text",
    "read_tasks",
    "task_id",
]
