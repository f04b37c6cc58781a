"""Looks for inputs that break promises, then for smaller ones."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import inputs
from hypothesis import HealthCheck, Phase, given, settings
from subject import Broken, NoInstance, Promise, Subject

SHRINKING = 3.0  # seconds on the clock for one promise


class OutOfTime(BaseException):
    """The search has used its time."""


@dataclass
class Break:
    """A promise, the smallest input found that breaks it, and what came."""

    promise: Promise
    call: inputs.Call
    broken: Broken


@dataclass
class Tally:
    """How a function did: calls made, those that took too long, and those that reached for something outside.

    ``refused``: inputs of which no instance of the class could be made.
    """

    tried: int = 0
    refused: int = 0
    slow: int = 0
    reached: str = ""
    slowest: inputs.Call | None = None


def find_breaks(
    subject: Subject, promises: list[Promise], strategy: Any, most: int, seconds: float
) -> tuple[list[Break], Tally]:
    """Each promise that some input breaks, with a small one. Stops early where the function reaches for something outside."""
    tally, until = Tally(), time.monotonic() + seconds
    broken: dict[str, Break] = {}
    kept: set[str] = set()
    promised = {p.name: p for p in promises}

    def look(call: inputs.Call) -> None:
        if time.monotonic() > until or tally.slow >= 3 or tally.reached:
            raise OutOfTime
        if not noted(subject, call, tally):
            return
        for promise in promised.values():
            found = checked(promise, call)
            if found is None:
                kept.add(promise.name)
            elif promise.name not in broken or size(call) < size(broken[promise.name].call):
                broken[promise.name] = Break(promise, call, found)

    through(strategy, look, most, Phase.generate)
    found = [b for b in broken.values() if not b.promise.sometimes or b.promise.name in kept]
    for one in found if not tally.reached else []:
        shrink(one, strategy, most)
    return found, tally


def noted(subject: Subject, call: inputs.Call, tally: Tally) -> bool:
    """Call once; whether it came to an end by itself."""
    outcome = subject.invoke(call)
    if isinstance(outcome.error, NoInstance):
        tally.refused += 1
        return False
    tally.tried += 1
    if outcome.end == "slow":
        tally.slow += 1
        tally.slowest = call
    elif outcome.end:
        tally.reached = outcome.end
    return not outcome.end


def checked(promise: Promise, call: inputs.Call) -> Broken | None:
    """A check that fails itself says nothing."""
    try:
        return promise.check(call)
    except Exception:
        return None


def shrink(one: Break, strategy: Any, most: int) -> None:
    """Let Hypothesis make the input smaller while it breaks the promise in the same way."""
    until = time.monotonic() + SHRINKING
    kind = one.broken.came.split(":")[0] if one.broken.line else ""

    class Still(Exception):  # noqa: N818 (a signal for the shrinker)
        pass

    def look(call: inputs.Call) -> None:
        if time.monotonic() > until:
            raise OutOfTime
        found = checked(one.promise, call)
        if found is not None and (not kind or found.came.split(":")[0] == kind):
            if size(call) <= size(one.call):
                one.call, one.broken = call, found
            raise Still

    with contextlib.suppress(Still):
        through(strategy, look, most, Phase.generate, Phase.shrink)


def through(strategy: Any, look: Callable[[inputs.Call], None], most: int, *phases: Phase) -> None:
    """Draw inputs; the same ones each time."""
    quiet = settings(
        max_examples=most, database=None, deadline=None, derandomize=True, phases=phases, report_multiple_bugs=False,
        print_blob=False, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    with contextlib.suppress(OutOfTime):
        quiet(given(strategy)(look))()


def size(call: inputs.Call) -> tuple[int, str]:
    text = repr(call)
    return len(text), text
