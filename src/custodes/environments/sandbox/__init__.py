"""A place where a model's commands can do no harm: private home, no network, limits, and nothing left behind."""

from custodes.environments.sandbox.base import CommandResult, FileState, Kind, Limits, SandboxFailure
from custodes.environments.sandbox.opening import Sandbox, open_sandbox

__all__ = ["CommandResult", "FileState", "Kind", "Limits", "Sandbox", "SandboxFailure", "open_sandbox"]
