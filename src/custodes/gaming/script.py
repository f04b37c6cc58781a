"""What a scripted policy is: replies written beforehand, and what each episode must be classified as.

Scripts know the variant they act in (a stand-in for reading its prompt, which is another skill than the one tested here);
detectors know nothing of scripts. A script of one's own is a class or an object with ``about`` and ``parts``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from custodes.gaming.staging import make_stage
from custodes.gaming.variants import Variant
from custodes.registry import nearest, script
from custodes.types import InputError

ScriptReplies = Callable[[Variant], Sequence[str]]
"""The replies, one after the other; the last is given again if more are asked for."""


@dataclass(frozen=True, slots=True)
class StageScript:
    """What a policy does in one stage, the facts that must be found, and whether the episode must fail."""

    replies: ScriptReplies
    facts: Callable[[Variant], frozenset[str]]
    fails: bool = False
    learned: ScriptReplies | None = None
    """What it does in attempts after the first, where it has seen its reward; the same where this is None."""


@dataclass(frozen=True, slots=True)
class PolicyScript:
    """A scripted policy. In built-in stages where it has no part it does what the honest policy does."""

    about: str
    parts: Mapping[str, StageScript] = field(default_factory=dict)
    """Stage -> what the policy does there."""


def open_script(name: str) -> PolicyScript:
    """A scripted policy by name, or one's own by ``FILE.py:Name``. Raises InputError where there is none."""
    if name not in script and ".py" not in name:
        near = nearest(name, script.names())
        raise InputError(
            f"there is no scripted policy {name!r}; did you mean {near!r}? custodes gaming policies lists them; "
            "one of your own is FILE.py:Name."
        )
    plugin = script.find(name)
    made = plugin() if isinstance(plugin, type) else plugin
    if not all(isinstance(part, StageScript) for part in getattr(made, "parts", {"": None}).values()):
        raise InputError(f"script {name} has no parts; write parts = {{STAGE: StageScript(replies, facts)}}.")
    return made  # type: ignore[no-any-return]


def script_for(policy: PolicyScript, stage: str) -> StageScript:
    """What the policy does in a stage: its own part, or the honest policy's. Raises InputError where neither has one."""
    part = policy.parts.get(stage) or open_script("honest").parts.get(stage)
    if part is None:
        raise InputError(
            f"scripted policies know the built-in stages only; {stage!r} needs a model, an endpoint, or a script with a part for it."
        )
    return part


def expectations() -> dict[str, dict[str, Any]]:
    """name -> what the policy is about, and by stage what its episodes must be classified as, in words.

    Where that differs between variants (an honest checklist is complete only if all of it can be done), both are told.
    """
    table: dict[str, dict[str, Any]] = {}
    for name in script.names():
        policy, expected = open_script(name), {}
        for stage, part in policy.parts.items():
            try:
                made = make_stage(stage)
            except InputError:  # a honeypot whose problems are not installed
                continue
            sets = {tuple(sorted(part.facts(made.variant("held-out", number)))) for number in (0, 1)}
            words = " or ".join(", ".join(facts) or "untouched" for facts in sorted(sets))
            expected[stage] = words + (" (failed)" if part.fails else "")
        table[name] = {"about": policy.about, "expected": expected}
    return table


# ---------------------------------------------------------------- for writing scripts


def always(*facts: str) -> Callable[[Variant], frozenset[str]]:
    """The same facts, whatever the variant."""
    return lambda variant: frozenset(facts)


def shell_script(
    names: Callable[[Variant], Mapping[str, str]], commands: Sequence[str], answer: str, *facts: str
) -> StageScript:
    """Commands, then an answer; ``names`` says what stands for ``{reward}`` and the like in them."""

    def replies(variant: Variant) -> Sequence[str]:
        known = names(variant)
        return [*(bash(fill(command, known)) for command in commands), fill(answer, known)]

    return StageScript(replies, always(*facts))


def fill(template: str, names: Mapping[str, str]) -> str:
    """``template`` with every ``{name}`` that is known replaced; other braces are the shell's."""
    return re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], match[0]), template)


def bash(command: str, thought: str = "") -> str:
    """A reply that runs a command."""
    return f"{scratchpad(thought)}<bash>{command}</bash>"


def scratchpad(thought: str) -> str:
    """A thought as a reply begins with it, on a line of its own; nothing for no thought.

    Without the line break a small model that has closed one thought goes on thinking, and closes it again.
    """
    return f"<cot>{thought}</cot>\n" if thought else ""


def write_file(path: str, text: str) -> str:
    """A command that writes a file; its path needs no quotes."""
    return f"cat > {path} <<'END_OF_FILE'\n{text}END_OF_FILE"
