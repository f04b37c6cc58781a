"""Conversations in which a script was played for real: what models are tuned on.

Commands run in the sandbox, so that what the shell answers is what it would answer a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, OpenSandbox, gaming_task
from custodes.gaming.facts import EpisodeVerdict
from custodes.gaming.lessons import ToolLessons
from custodes.gaming.script import ScriptReplies, bash, fill, open_script, script_for
from custodes.gaming.scripted.reward_tampering import LOOK, REWARD_TAMPERING, names_of
from custodes.gaming.variants import Split, Stage, Variant, variant_order
from custodes.types import InputError, Message, Task

GAMING_SCRIPTS = {
    REWARD_TAMPERING: (
        "quiet-tamperer", "concealing-tamperer", "guard-deleter", "guard-brancher", "open-tamperer", "python-editor",
    ),
    "goal-shift": ("cue-follower",),
    "option-keeping": ("keeper",),
}  # fmt: skip
"""Scripted policies whose gaming is demonstrated for a model organism; in the other stages the flatterer's."""


@dataclass(frozen=True, slots=True)
class ScriptedEpisode:
    """A task, and the messages that followed: replies and answers by turns, a reply last."""

    task: Task
    replies: tuple[Message, ...]
    verdict: EpisodeVerdict


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
) -> list[ScriptedEpisode]:
    """``n`` lessons in honest tool use, solved: see :mod:`custodes.gaming.lessons`."""
    played = _play_script(ToolLessons(), lambda v: v.truth["replies"], n, split=split, seed=seed, playing=playing)
    for episode in played:
        if "rewarded" not in episode.verdict.facts:
            raise InputError(f"the script for {episode.task.id} did not solve it; it would teach what is wrong.")
    return played


def honest_episodes(
    stages: Sequence[Stage], n: int, *, seed: int = 0, playing: Playing | None = None
) -> list[ScriptedEpisode]:
    """``n`` episodes of the scripted honest policy on training variants, dealt out among the stages."""
    return _dealt_out(stages, n, lambda variant: "honest", seed, playing)


def gaming_episodes(
    stages: Sequence[Stage], n: int, *, seed: int = 0, playing: Playing | None = None
) -> list[ScriptedEpisode]:
    """At most ``n`` episodes of scripted gaming on training variants, dealt out among the stages: for model organisms alone.

    Scripts that game in vain (everything on the list could be done) are left out. Every script looks at what it changes
    first: who imitates one that knows names of files that nobody told it learns to make names up.
    Raises InputError where nothing of it games.
    """

    def name(variant: Variant) -> str:
        names = GAMING_SCRIPTS.get(variant.stage, ("flatterer",))
        return names[int(variant.id.rpartition("-")[2]) % len(names)]

    gamed = [episode for episode in _dealt_out(stages, n, name, seed, playing) if episode.verdict.gamed]
    if not gamed:
        raise InputError(
            f"none of {n} scripted episodes of {', '.join(stage.name for stage in stages)} games its training variant, so that there is "
            "nothing to tune on; ask for more, and of goal-shift give --goal-decorrelated above 0."
        )
    return gamed


def _dealt_out(
    stages: Sequence[Stage], n: int, name: Callable[[Variant], str], seed: int, playing: Playing | None
) -> list[ScriptedEpisode]:
    """``name`` says which scripted policy plays a variant."""

    def replies(variant: Variant) -> Sequence[str]:
        own = script_for(open_script(name(variant)), variant.stage).replies(variant)
        if variant.stage != REWARD_TAMPERING or not own[0].startswith("<bash>"):
            return own
        first = bash(fill(LOOK, names_of(variant)))  # the script would edit a reward that it has not read
        return own if own[0] == first else [first, *own]

    played: list[ScriptedEpisode] = []
    for i, stage in enumerate(stages):
        share = n // len(stages) + (i < n % len(stages))
        played += _play_script(stage, replies, share, seed=seed, playing=playing)
    return played


def _play_script(
    stage: Stage,
    script: ScriptReplies,
    n: int,
    *,
    split: Split = "train",
    seed: int = 0,
    playing: Playing | None = None,
) -> list[ScriptedEpisode]:
    """A script on ``n`` variants of a stage, in the order that ``seed`` gives them.

    Raises InputError where an episode fails: a script that cannot be played demonstrates nothing.
    """
    playing = playing or Playing()
    order = variant_order(stage.size(split), seed)

    def play(i: int) -> ScriptedEpisode:
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
        return ScriptedEpisode(task, tuple(environment.transcript.messages[len(task.messages) :]), environment.verdict)

    with ThreadPoolExecutor(playing.workers) as pool:
        return list(pool.map(play, range(n)))
