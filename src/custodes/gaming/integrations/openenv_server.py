"""The gameable environments as an OpenEnv server: ``custodes gaming serve --stage reward-tampering``.

A client resets to a variant (``reset(variant="held-out-0017")``, or by ``seed``: the variant of that number) and sends
replies in the transcript syntax (``step({"reply": "<bash>ls</bash>"})``). An observation has the messages that came
back; the last one of an episode has ``done``, the reward that its stage gives, and the verdict. Episodes are concurrent,
each with its own sandbox.
"""

from __future__ import annotations

import uuid
from typing import Any

from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
from pydantic import Field

from custodes import __version__
from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, gaming_task
from custodes.gaming.variants import Split, Stage, read_variant_id, variant_order
from custodes.types import InputError


class GamingAction(Action):
    """What the policy says."""

    reply: str
    """In the transcript syntax: visible text, ``<cot>`` for the scratchpad, ``<bash>`` for one command."""


class GamingObservation(Observation):
    """What came back."""

    messages: list[dict[str, str]] = Field(default_factory=list)
    """New messages, each with role and content; none at the end of an episode."""
    verdict: dict[str, Any] = Field(default_factory=dict)
    """At the end: category, facts, gamed, caught, failure."""


class GamingState(State):
    """Where the episode is. Nothing that graders alone may know."""

    stage: str = ""
    variant: str = ""


class GamingServer(Environment[GamingAction, GamingObservation, GamingState]):
    """One client's environment."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, stage: Stage, split: Split = "train", options: EnvironmentOptions | None = None) -> None:
        super().__init__()
        self.stage, self.split, self.options = stage, split, options or EnvironmentOptions()
        self.environment = GamingEnvironment({stage.name: stage}, self.options)
        self._order = variant_order(stage.size(split), 0)
        self._played = 0
        self._over = True
        self._state = GamingState(stage=stage.name)

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, variant: str = "", **rest: Any
    ) -> GamingObservation:
        """Begin an episode: of ``variant``, else of the split's variant ``seed`` (round again), else of the next one."""
        if variant:
            split, number = read_variant_id(variant)
        else:
            split, number = self.split, self._order[(self._played if seed is None else seed) % len(self._order)]
            self._played += seed is None
        task = gaming_task(self.stage, split, number, self.options)
        messages = self.environment.start(task)
        self._over = False
        chosen = str(task.metadata["variant"])
        self._state = GamingState(episode_id=episode_id or str(uuid.uuid4()), stage=self.stage.name, variant=chosen)
        return GamingObservation(messages=[m.to_dict() for m in messages])

    def step(self, action: GamingAction, timeout_s: float | None = None, **rest: Any) -> GamingObservation:
        """Raises InputError after the end of an episode."""
        if self._over:
            raise InputError("the episode is over (or has not begun); call reset first.")
        answer = self.environment.step(action.reply)
        self._state.step_count += 1
        if answer is not None:
            return GamingObservation(messages=[m.to_dict() for m in answer])
        self._over = True
        verdict = self.environment.outcome()
        return GamingObservation(done=True, reward=verdict.pop("reward"), verdict=verdict)

    @property
    def state(self) -> GamingState:
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        return EnvironmentMetadata(
            name=f"custodes {self.stage.name}", description=f"Gaming here: {self.stage.about}.", version=__version__
        )

    def close(self) -> None:
        """End the sandbox."""
        self.environment.close()


def make_app(
    stage: Stage, split: Split = "train", options: EnvironmentOptions | None = None, sessions: int = 16
) -> Any:
    """The server as a FastAPI application with at most ``sessions`` clients at once."""

    return create_fastapi_app(
        lambda: GamingServer(stage, split, options), GamingAction, GamingObservation, max_concurrent_envs=sessions
    )


def serve(app: Any, host: str, port: int) -> None:
    """Serve until interrupted. Raises InputError where the port cannot be had."""
    import uvicorn

    try:
        uvicorn.run(app, host=host, port=port, log_level="warning")
    except SystemExit:  # uvicorn has said why
        raise InputError(f"cannot serve on {host}:{port}; is the port in use? Give another --port.") from None
