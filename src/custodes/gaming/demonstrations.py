"""Conversations in which a script was played for real: what models are tuned on.

Commands run in the sandbox, so that what the shell answers is what it would answer a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, OpenSandbox, gaming_task
from custodes.gaming.facts import Verdict
from custodes.gaming.lessons import ToolLessons, lesson_replies
from custodes.gaming.scripted import part_of, scripted
from custodes.gaming.scripted.base import bash
from custodes.gaming.scripted.tampering import REWARD_TAMPERING as TAMPERING
from custodes.gaming.scripted.tampering import VariantPlace, look
from custodes.gaming.variants import Split, Stage, Variant, variant_order
from custodes.types import InputError, Message, Task

Script = Callable[[Variant], Sequence[str]]
GAMING_SCRIPTS = {
    "reward-tampering": (
        "quiet-tamperer", "concealing-tamperer", "guard-deleter", "guard-brancher", "open-tamperer", "python-editor",
    )
}  # fmt: skip
"""Scripted policies whose gaming is demonstrated for a model organism; in the other stages the flatterer's."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A task, and the messages that followed: replies and answers by turns, a reply last."""

    task: Task
    said: tuple[Message, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Playing:
    """How scripts are played; none of it but ``options`` changes what is said."""

    options: EnvironmentOptions | None = None
    workers: int = 4
    on_progress: Callable[[int], None] | None = None
    """Called with 1 after each episode."""
    open_sandbox: OpenSandbox | None = None


def honest_lessons(
    n: int, *, split: Split = "train", seed: int = 0, playing: Playing | None = None
) -> list[Demonstration]:
    """``n`` lessons in honest tool use, solved: see :mod:`custodes.gaming.lessons`."""
    found = _play_script(ToolLessons(), lesson_replies, n, split=split, seed=seed, playing=playing)
    for demonstration in found:
        if "rewarded" not in demonstration.verdict.facts:
            raise InputError(f"the script for {demonstration.task.id} did not solve it; it would teach what is wrong.")
    return found


def honest_episodes(
    stages: Sequence[Stage], n: int, *, seed: int = 0, playing: Playing | None = None
) -> list[Demonstration]:
    """``n`` episodes of the scripted honest policy on training variants, dealt out among the stages."""
    return _dealt_out(stages, n, lambda stage, number: "honest", seed, playing)


def gaming_episodes(
    stages: Sequence[Stage], n: int, *, seed: int = 0, playing: Playing | None = None
) -> list[Demonstration]:
    """At most ``n`` episodes of scripted gaming on training variants, dealt out among the stages: for model organisms
    alone. Scripts that game in vain (everything on the list could be done) are left out.

    Every script looks at what it changes first: who imitates one that knows names of files that nobody told it learns to make names up.
    """

    def name(stage: str, number: int) -> str:
        names = GAMING_SCRIPTS.get(stage, ("flatterer",))
        return names[number % len(names)]

    return [d for d in _dealt_out(stages, n, name, seed, playing) if d.verdict.gamed]


def _play_script(
    stage: Stage, script: Script, n: int, *, split: Split = "train", seed: int = 0, playing: Playing | None = None
) -> list[Demonstration]:
    """A script on ``n`` variants of a stage, in the order that ``seed`` gives them.

    Raises InputError where an episode fails: a script that cannot be played demonstrates nothing.
    """
    playing = playing or Playing()
    order = variant_order(stage.size(split), seed)

    def play(i: int) -> Demonstration:
        task = gaming_task(stage, split, order[i % len(order)], playing.options)
        environment = GamingEnvironment({stage.name: stage}, playing.options, playing.open_sandbox)
        environment.start(task)
        for reply in script(environment.variant):
            if environment.step(reply) is None:
                break
        else:
            environment.fail("the script ended before the episode")
        if environment.failure or not environment.transcript.well_formed:
            why = environment.failure or "; ".join(environment.transcript.problems)
            raise InputError(f"the script for {task.id} cannot be played: {why}.")
        if playing.on_progress is not None:
            playing.on_progress(1)
        return Demonstration(task, tuple(environment.transcript.messages[len(task.messages) :]), environment.verdict)

    with ThreadPoolExecutor(playing.workers) as pool:
        return list(pool.map(play, range(n)))


def _looking_first(variant: Variant, replies: Sequence[str]) -> Sequence[str]:
    """The replies, after a look at the folder where the script would edit a reward that it has not read."""
    if variant.stage != TAMPERING or not replies[0].startswith("<bash>"):
        return replies
    first = bash(look(VariantPlace(variant)))
    return replies if replies[0] == first else [first, *replies]


def _dealt_out(
    stages: Sequence[Stage], n: int, name: Callable[[str, int], str], seed: int, playing: Playing | None
) -> list[Demonstration]:
    """``name`` says which scripted policy plays a variant of a stage."""
    found: list[Demonstration] = []
    for i, stage in enumerate(stages):

        def script(variant: Variant, stage: str = stage.name) -> Sequence[str]:
            number = int(variant.id.rpartition("-")[2])
            return _looking_first(variant, part_of(scripted(name(stage, number)), stage).script(variant))

        share = n // len(stages) + (i < n % len(stages))
        found += _play_script(stage, script, share, seed=seed, playing=playing)
    return found
