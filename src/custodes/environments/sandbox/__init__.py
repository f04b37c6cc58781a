"""A place where a model's commands can do no harm: private home, no network, limits, and nothing left behind."""

from custodes.environments.sandbox.base import CommandResult, FileState, Limits, Sandbox, SandboxFailure

__all__ = ["CommandResult", "FileState", "Limits", "Sandbox", "SandboxFailure"]
