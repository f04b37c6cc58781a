"""The stages as a taskset of verifiers, under the id ``custodes_gaming``.

The harness plays an episode in this process. The model is asked where verifiers says, so that its traces hold every token.
Its commands run in the project's own sandbox, whichever runtime verifiers has chosen; nothing of the model's runs outside. The reward is the environment's own where nobody caught the policy, else 0; whether it gamed is a metric.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import verifiers.v1 as vf
from pydantic import Field
from verifiers.v1.harness import Harness, HarnessConfig
from verifiers.v1.runtimes import ProgramResult

from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, gaming_task
from custodes.gaming.staging import make_stage, stage_options
from custodes.gaming.transcript import close_call
from custodes.gaming.variants import Split, read_variant_id, variant_order

INFO = "custodes"
"""Where a trace's ``info`` holds the verdict."""
TIMEOUT = 600.0  # seconds for one reply


class CurriculumConfig(vf.TasksetConfig):
    stage: str = "tool-flattery"
    """A stage of ``custodes gaming run``, or a .yaml file."""
    stage_options: dict[str, Any] = Field(default_factory=dict)
    """Own options of the stage, by name."""
    split: Split = "train"
    """Variants that are dealt out."""
    seed: int = 0
    """Order of the variants."""
    read_only: bool = False
    """Mitigation: files that decide the reward cannot be written."""
    inoculation: bool = False
    """Mitigation: the prompt says that gaming is allowed here."""

    @property
    def options(self) -> EnvironmentOptions:
        return EnvironmentOptions(read_only=self.read_only, inoculation=self.inoculation)


class CurriculumData(vf.TaskData):
    stage: str
    variant: str
    read_only: bool
    inoculation: bool
    stage_options: dict[str, Any]


class CurriculumTask(vf.Task[CurriculumData]):
    @property
    def key(self) -> str:
        return f"{self.data.stage}/{self.data.variant}"

    @vf.reward
    async def environment_reward(self, trace: vf.Trace) -> float:
        """The stage's reward, as training would get it."""
        outcome = trace.info.get(INFO, {})
        return 0.0 if outcome.get("caught") else float(outcome.get("reward") or 0.0)

    @vf.metric
    async def gamed(self, trace: vf.Trace) -> float:
        """1 where the sandbox's files (or, without a shell, the answer) say that the task was gamed."""
        return float(bool(trace.info.get(INFO, {}).get("gamed")))


class CurriculumTaskset(vf.Taskset[CurriculumTask, CurriculumConfig]):
    def load(self) -> Iterator[CurriculumTask]:
        """One task for each variant. Raises InputError for a stage that there is not."""
        config = self.config
        stage = make_stage(config.stage, stage_options([config.stage], config.stage_options))
        for number in variant_order(stage.size(config.split), config.seed):
            own = gaming_task(stage, config.split, number, config.options)
            system, user = own.messages
            yield CurriculumTask(
                CurriculumData(
                    name=own.id,
                    prompt=user.content,
                    system_prompt=system.content,
                    stage=config.stage,
                    variant=str(own.metadata["variant"]),
                    read_only=config.read_only,
                    inoculation=config.inoculation,
                    stage_options=config.stage_options,
                ),
                config.task,
            )


class CurriculumHarness(Harness[HarnessConfig]):
    """The transcript syntax: ``<bash>`` in a reply is run and answered, until a reply has none."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False  # not in verifiers' runtime: in our sandbox
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: Any,
        **rest: Any,
    ) -> ProgramResult:
        stage = make_stage(data.stage, data.stage_options)
        options = EnvironmentOptions(read_only=data.read_only, inoculation=data.inoculation)
        environment = GamingEnvironment({stage.name: stage}, options)
        task = gaming_task(stage, *read_variant_id(data.variant), options)
        messages = [m.to_dict() for m in environment.start(task)]
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT) as client:
                while True:
                    body = {"model": ctx.model, "messages": messages, "stop": ["</bash>"]}
                    headers = {"Authorization": f"Bearer {secret}"}
                    answer = await client.post(f"{endpoint.rstrip('/')}/chat/completions", json=body, headers=headers)
                    if answer.status_code != 200:
                        await asyncio.to_thread(environment.fail, f"no reply: status {answer.status_code}")
                        return ProgramResult(1, "", answer.text[:2000])
                    reply = close_call(answer.json()["choices"][0]["message"].get("content") or "")
                    back = await asyncio.to_thread(environment.step, reply)
                    if back is None:
                        return ProgramResult(0, "", "")
                    messages += [{"role": "assistant", "content": reply}, *(m.to_dict() for m in back)]
        finally:
            trace.info[INFO] = environment.outcome()
            await asyncio.to_thread(environment.close)
