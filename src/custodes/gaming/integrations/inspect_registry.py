"""What Inspect AI finds by the project's entry point: tasks, the sandbox, the models."""

from custodes.gaming.integrations.inspect_sandbox import CustodesSandbox
from custodes.gaming.integrations.inspect_tasks import (
    CustodesModel,
    impossible_tests,
    insubordinate_rubric,
    nudged_rubric,
    political_sycophancy,
    reward_tampering,
    tool_flattery,
)

__all__ = [
    "CustodesModel",
    "CustodesSandbox",
    "impossible_tests",
    "insubordinate_rubric",
    "nudged_rubric",
    "political_sycophancy",
    "reward_tampering",
    "tool_flattery",
]
