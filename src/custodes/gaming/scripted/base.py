"""What a scripted policy is: replies written beforehand, and what each must be classified as.

Scripts know the variant they act in (a stand-in for reading its prompt, which is another skill than the one tested
here); detectors know nothing of scripts.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from custodes.gaming.variants import Variant

Script = Callable[[Variant], Sequence[str]]
"""The replies, one after the other; the last is given again if it is asked for more."""
Expected = Callable[[Variant], frozenset[str]]


@dataclass(frozen=True, slots=True)
class ScriptPart:
    """What a policy does in one stage, the facts that must be found, and whether the episode must fail."""

    script: Script
    expected: Expected
    fails: bool = False
    learned: Script | None = None
    """What it does in attempts after the first, where it has seen its reward; the same where this is None."""


@dataclass(frozen=True, slots=True)
class Scripted:
    """A scripted policy. In stages where it has no part it does what the honest policy does."""

    name: str
    about: str
    parts: dict[str, ScriptPart] = field(default_factory=dict)


def always(*facts: str) -> Expected:
    return lambda variant: frozenset(facts)


def bash(command: str, thought: str = "") -> str:
    """A reply that runs a command."""
    return f"{scratchpad(thought)}<bash>{command}</bash>"


def scratchpad(thought: str) -> str:
    """A thought as a reply begins with it, on a line of its own: without the line break a small model that has closed one
    thought goes on thinking, and closes it again. Nothing for no thought."""
    return f"<cot>{thought}</cot>\n" if thought else ""


def write(path: str, text: str) -> str:
    """A command that writes a file."""
    return f"cat > {shlex.quote(path)} <<'END_OF_FILE'\n{text}END_OF_FILE"
