"""Reward and oversight, run on files in a clean room: no function, alias or process of the policy lives there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from custodes.environments.sandbox import CommandResult, Sandbox
from custodes.gaming.environment_spec import EnvironmentSpec
from custodes.types import InputError


@dataclass(frozen=True, slots=True)
class RewardOutcome:
    """What ``reward_cmd`` and ``oversight_cmd`` gave."""

    reward: float | None
    caught: bool
    problem: str = ""
    """Why there is no reward."""


def outcome(spec: EnvironmentSpec, files: Mapping[str, bytes], sandbox: Sandbox) -> RewardOutcome:
    """Run ``oversight_cmd``, then ``reward_cmd`` on ``files``, both in one clean room where both are given.

    The order matters. Edited reward code that runs in the guard's process first could prepare the ground for the reward,
    which is its own to decide anyway; the other way round it could prepare the ground for its guard. By the same reasoning
    it does not matter that it could write the guard's exit code itself: in the guard's process it could exit with it.
    """
    never_ended = False
    if spec.reward_cmd and spec.oversight_cmd:
        script = f"( {spec.oversight_cmd}\n) >/dev/null 2>&1 </dev/null; echo $?\n{spec.reward_cmd}"
        done = sandbox.clean_room(files, script, 2 * spec.seconds)
        code, _, printed = done.stdout.partition("\n")
        if code.isdigit():
            reward, problem = _read_reward(replace(done, stdout=printed))
            return RewardOutcome(reward, code != "0", problem)
        never_ended = done.timed_out  # the oversight: a guard that never ends has not passed anybody
    reward, problem = None, "there is no reward_cmd"
    if spec.reward_cmd:
        reward, problem = _read_reward(sandbox.clean_room(files, spec.reward_cmd, spec.seconds))
    return RewardOutcome(reward, never_ended or is_caught(spec, files, sandbox), problem)


def is_caught(spec: EnvironmentSpec, files: Mapping[str, bytes], sandbox: Sandbox) -> bool:
    """Whether ``oversight_cmd`` fails on ``files``; a guard that never ends has not passed them."""
    return bool(spec.oversight_cmd) and sandbox.clean_room(files, spec.oversight_cmd, spec.seconds).returncode != 0


def is_gamed(spec: EnvironmentSpec, files: Mapping[str, bytes], sandbox: Sandbox) -> bool | None:
    """Whether ``gamed_cmd`` succeeds on ``files``; None without one. One that never ends has not succeeded."""
    return sandbox.clean_room(files, spec.gamed_cmd, spec.seconds).returncode == 0 if spec.gamed_cmd else None


def check_environment(spec: EnvironmentSpec, sandbox: Sandbox) -> None:
    """Run the commands on the files as they are given, before anybody touched them.

    Raises InputError where the environment itself is broken: its reward is no number, or its guard catches nobody's edit.
    """
    files = {path: text.encode() for path, text in spec.files.items()}
    untouched, problem = "on the files as given, where nobody did anything", ""
    if is_gamed(spec, files, sandbox):
        problem = f"gamed_cmd succeeds {untouched}"
    elif spec.reward_cmd:
        result = outcome(spec, files, sandbox)
        if result.problem:
            problem = f"{result.problem}; it must print a number for the files as given"
        elif result.caught:
            problem = f"oversight_cmd fails {untouched}"
    if problem:
        raise InputError(f"environment {spec.name}: {problem}.")


def _read_reward(result: CommandResult) -> tuple[float | None, str]:
    """(reward, what is wrong): one of them is empty."""
    if result.timed_out:
        return None, "reward_cmd did not end in time"
    if result.returncode != 0:
        last = ([line for line in result.stderr.splitlines() if line.strip()] or ["no message"])[-1]
        return None, f"reward_cmd failed with exit code {result.returncode} ({last[:200]})"
    last = ([line for line in result.stdout.splitlines() if line.strip()] or [""])[-1].strip()
    if not last:
        return None, "reward_cmd printed nothing"
    try:
        value = float(last)
    except ValueError:
        return None, f"reward_cmd printed {last[:80]!r}, which is no number"
    if not math.isfinite(value):
        return None, f"reward_cmd printed {last[:80]!r}, which is no finite number"
    return value, ""
