"""An environment of one's own, ``FILE.py:Name``: several turns, tools, and perhaps a reward at the end.

The class is made anew for every episode. It has ``start(task)`` and ``step(reply)``, as :class:`custodes.types.Environment`
says; messages may also be dicts with role and content, or text, which is a user's message. It may have ``reward()``, a number
or None (no opinion) once the episode has ended, ``prefix``, how the next reply must begin, and ``close()``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custodes.registry import FAILURES, place_in, run_file
from custodes.types import InputError, Message, Task


class BrokenEnvironment(InputError):  # noqa: N818 - what happened, not who erred
    """The code of an environment of one's own raised: the run stops, since its other episodes would fare no better."""


class OwnPlay:
    """One episode in an environment of one's own: what :class:`custodes.policy.play.Playable` asks for."""

    def __init__(self, environment: Any, where: str) -> None:
        self.environment, self.where, self.failure = environment, where, ""
        self._asked, self._reward = False, None  # type: bool, float | None

    @property
    def prefix(self) -> str:
        return str(getattr(self.environment, "prefix", ""))

    def start(self, task: Task) -> tuple[Message, ...]:
        with_messages = self._call("start", task)
        return task.messages if with_messages is None else _messages(with_messages, f"{self.where}.start")

    def step(self, reply: str) -> tuple[Message, ...] | None:
        answer = self._call("step", reply)
        return None if answer is None else _messages(answer, f"{self.where}.step")

    def reward(self) -> float | None:
        """What the environment itself says of the episode, asked before it is closed."""
        if not self._asked:
            value = self._call("reward") if hasattr(self.environment, "reward") else None
            self._asked, self._reward = True, None if value is None else self._number(value)
        return self._reward

    def _number(self, value: object) -> float:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            if math.isfinite(number := float(value)):  # type: ignore[arg-type]
                return number
        raise BrokenEnvironment(f"{self.where}.reward returned {value!r}; it must return a finite number, or None.")

    def fail(self, why: str) -> None:
        self.failure = self.failure or why

    def close(self) -> None:
        self.reward()
        if hasattr(self.environment, "close"):
            self._call("close")

    def _call(self, name: str, *given: Any) -> Any:
        try:
            return getattr(self.environment, name)(*given)
        except FAILURES as error:  # of whoever wrote it
            file = Path(self.where.rpartition(".py")[0] + ".py")
            raise BrokenEnvironment(
                f"environment {self.where} failed in {name} at {place_in(file, error)} ({type(error).__name__}: {error})."
            ) from error


def own_environment(spec: str) -> Callable[[Task], OwnPlay]:
    """What makes an episode's environment from ``FILE.py:Name``. The file runs in this process, outside of sandboxes.

    Raises InputError where the file cannot be run or has no such class with ``start`` and ``step``.
    """
    file, _, name = spec.rpartition(".py")
    name = name.removeprefix(":")
    if not file or not name:
        raise InputError(f"--environment {spec} names no class; write FILE.py:Name.")
    module = run_file(Path(file + ".py"), "environment")
    make = getattr(module, name, None)
    if make is None or (missing := [part for part in ("start", "step") if not hasattr(make, part)]):
        lacks = f"has no {' and no '.join(missing)}" if make is not None else "does not exist"
        raise InputError(f"environment {spec} {lacks}; write a class with start(task) and step(reply).")
    return lambda task: OwnPlay(make(), spec)


def _messages(given: Any, where: str) -> tuple[Message, ...]:
    """Messages, dicts or text. Raises InputError for anything else."""
    if isinstance(given, str):
        return (Message("user", given),)
    try:
        listed = [given] if isinstance(given, Message | dict) else list(given)
        return tuple(m if isinstance(m, Message) else Message(m["role"], str(m["content"])) for m in listed)
    except (TypeError, KeyError):
        raise InputError(
            f"{where} returned {type(given).__name__}; return text or messages with role and content."
        ) from None
