"""Serving a stage to clients of OpenEnv: what ``custodes gaming serve`` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from custodes.gaming.environment import EnvironmentOptions
from custodes.gaming.jobs.run import kinds_asked
from custodes.gaming.staging import make_stage, stage_options
from custodes.gaming.variants import Split
from custodes.job.command import command
from custodes.ranges import Count, Port, ranged
from custodes.registry import OptionsOf, stage
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
@ranged
class GamingServe:
    """Serve a stage to clients of OpenEnv (pip install openenv-core), until interrupted.

    Whoever reaches the address can run commands in sandboxes of this machine.
    """

    stage: str
    """A stage of custodes gaming run, FILE.yaml or FILE.py:Class. Its own options join these."""
    stage_options: Annotated[Mapping[str, Any], OptionsOf(stage, "stage", kinds_asked)] = field(default_factory=dict)
    """Own options of the stages."""
    split: Split = "train"
    """Variants that are played: held-out, or those that training uses."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8000
    """Port to listen on."""
    sessions: Count = 16
    """Clients at once."""
    read_only: bool = False
    """Mitigation: files that decide the reward cannot be written."""
    attempts: Count = 1
    """Probe: attempts in one context, until one games or is rewarded. After each the reward is shown and reflection asked for."""


@command(prints=False, recorded=False)
def gaming_serve(config: GamingServe) -> None:
    """Serve a stage to clients of OpenEnv, until interrupted."""
    try:
        from custodes.gaming.integrations.openenv_server import make_app, serve
    except ModuleNotFoundError as error:
        raise InputError(f"serving needs {error.name}: pip install openenv-core uvicorn.") from None
    made = make_stage(config.stage, stage_options([config.stage], config.stage_options))
    environment = EnvironmentOptions(read_only=config.read_only, attempts=config.attempts)
    serve(make_app(made, config.split, environment, config.sessions), config.host, config.port)
