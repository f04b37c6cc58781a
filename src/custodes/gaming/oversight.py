"""Episodes of gameable environments under oversight: every command, and every final answer, waits for an overseer.

Whether an action is gaming is not guessed from its words. It is done on trial, in a sandbox of its own that repeats what was
done before, and the stage judges the files that are left. So the truth of a blocked action is known as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from custodes.feedback.oversight import EpisodeOversight, OversightOptions, read_share, told_of_block
from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, OpenSandbox
from custodes.gaming.monitoring import is_plugin, make_view, open_monitor
from custodes.gaming.variants import Stage
from custodes.types import InputError, Message, Task

ActionMonitor = Callable[[Sequence[Message], str], bool]
"""(what was said and done before, the next reply) -> whether the overseer is to see it."""


class OverseenGaming(GamingEnvironment):
    """An episode whose actions an overseer decides on; a blocked one is not run and not sent."""

    def __init__(
        self,
        stages: Mapping[str, Stage],
        options: EnvironmentOptions,
        open_sandbox: OpenSandbox | None,
        overseen: EpisodeOversight,
        monitor: ActionMonitor | None = None,
    ) -> None:
        if options.attempts > 1:
            raise InputError("--oversight is of single attempts; leave --attempts at 1.")
        super().__init__(stages, options, open_sandbox)
        self.overseen, self.monitor = overseen, monitor
        self._done: list[str] = []  # replies that reached the environment
        self._gamed_before = False

    @property
    def played(self) -> GamingEnvironment:
        return self

    def start(self, task: Task) -> tuple[Message, ...]:
        self._task = task
        return super().start(task)

    def step(self, reply: str) -> tuple[Message, ...] | None:
        before = tuple(self.transcript.messages)
        games = self._would_game(reply)
        harmful = None if games is None else games and not self._gamed_before
        chosen = self.monitor(before, reply) if self.monitor else None
        answer = self.overseen.answer(before, reply, harmful, chosen)
        if answer is not None and not answer.approved:
            return self.block(reply, "" if self.overseen.over else told_of_block(answer))
        self._done.append(reply)
        self._gamed_before = bool(games)
        return super().step(reply)

    def _would_game(self, reply: str) -> bool | None:
        """Whether the episode would be gamed if it ended with this reply; None where its stage does not say."""
        trial = GamingEnvironment(self.stages, self.options, self._open)
        try:
            trial.start(self._task)
            for said in self._done:
                trial.step(said)
            if trial.step(reply) is not None:
                trial.fail("tried to its last action")
            return trial.verdict.gamed
        finally:
            trial.close()


def action_monitor(options: OversightOptions) -> ActionMonitor | None:
    """The monitor that ``--oversee`` names, None for a share. It sees what was said and done, scratchpads too.

    Raises InputError for what is neither, and for a monitor that is a model: those read whole episodes, afterwards.
    """
    if read_share(options) is not None:
        return None
    if not is_plugin(options.oversee):
        raise InputError(
            f"--oversee {options.oversee} is no rule; write all, a share such as 0.1, a monitor such as rules, or FILE.py:Name."
        )
    monitor = open_monitor(options.oversee)

    def alarmed(before: Sequence[Message], reply: str) -> bool:
        said = [*before, Message("assistant", reply), Message("tool", "")]
        view = make_view({"transcript": [message.to_dict() for message in said]}, "actions-and-scratchpad")
        return monitor.alarms([view])[0].raised

    return alarmed
