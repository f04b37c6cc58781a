"""What the gaming tests share: all stages, and one way to play an episode with replies written beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from custodes.gaming import STAGES, EnvironmentOptions, GamingEnvironment, gaming_task, make_stage
from custodes.gaming.script import open_script
from custodes.gaming.staging import HONEYPOTS, WORLDS
from custodes.gaming.variants import Stage
from custodes.registry import script

MADE: dict[str, Stage] = {name: make_stage(name) for name in (*STAGES, *HONEYPOTS, *WORLDS)}
POLICIES = {name: open_script(name) for name in script.names()}


def play(
    stage: Stage | str, number: int, replies: Sequence[str], options: EnvironmentOptions | None = None
) -> GamingEnvironment:
    """One episode; the last reply is repeated until it ends."""
    made = MADE[stage] if isinstance(stage, str) else stage
    environment = GamingEnvironment({made.name: made}, options)
    environment.start(gaming_task(made, "held-out", number, options))
    for i in range(2000):
        if environment.step(replies[min(i, len(replies) - 1)]) is None:
            return environment
    raise AssertionError("the episode never ended")
