"""What Inspect AI finds by the project's entry point: tasks, the sandbox, the models."""

from custodes.gaming.integrations.inspect_sandbox import CustodesSandbox
from custodes.gaming.integrations.inspect_tasks import TASKS, CustodesModel

__all__ = ["TASKS", "CustodesModel", "CustodesSandbox"]
