"""Episodes per second of a model that plays a stage in sandboxes, as `custodes gaming run` and `train` do.

    python benchmarks/curriculum_play.py --script honest --json
    python benchmarks/curriculum_play.py --policy runs/warm/policy --stage reward-tampering --episodes 128 --json

In turns with the same model asked for a batch of whole conversations at each turn: nothing is kept between turns, and the
batch waits for its longest reply. ``ratio`` is how many times less processor time an episode takes by ours; on a machine
that others use too the wall's clock says little. With ``--script`` the model computes everything, and says what a scripted
policy would: both sides then play the same episodes, and a model that was never tuned will do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from harness import run
from result import print_result

import custodes.lm.engine
import custodes.lm.stream
from custodes.gaming import STAGES, Loop, Runner, make_stage
from custodes.gaming.model import ModelFlow, ModelPolicy
from custodes.gaming.policies import Conversation, Drawn, EnginePolicy
from custodes.gaming.script import open_script, script_for
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.lm.requests import Request
from custodes.types import Sampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="smollm2-135m", help="a model, or the folder of an adapter")
    parser.add_argument("--script", default="", help="say what this scripted policy would")
    parser.add_argument("--stage", choices=STAGES, default="reward-tampering")
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64, help="conversations sampled at once")
    parser.add_argument("--max-tokens", type=int, default=128, help="longest single reply")
    parser.add_argument("--alone", action="store_true", help="ours only")
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    options = parser.parse_args()
    lm = load(options.policy)
    script = _Script(lm, options.script) if options.script else None
    sampling, found = Sampling(max_tokens=options.max_tokens), {}
    for name, kind in (("ours", ModelPolicy), ("whole_conversations", EnginePolicy))[: 1 if options.alone else 2]:
        engine = TorchEngine(lm, max_batch=options.batch, cache_gb=2.0)
        found[name] = measure(kind(engine, name, sampling, options.batch), options, script)
        if not options.json:
            print(f"{name}: {found[name]['processor_seconds_per_episode']:.3g} s of processor time an episode")
    if not options.alone:
        whole, ours = (found[n]["processor_seconds_per_episode"] for n in ("whole_conversations", "ours"))
        found["ratio"] = whole / ours
    print_result({"benchmark": "curriculum_play", "stage": options.stage, "policy": options.policy, "script": options.script,
                      "episodes": options.episodes, "batch": options.batch, "max_tokens": options.max_tokens, **found,
                      "machine": {"threads": torch.get_num_threads()}})  # fmt: skip


def measure(policy: EnginePolicy, options: argparse.Namespace, script: _Script | None) -> dict[str, float]:
    stages = {options.stage: make_stage(options.stage)}
    if script is not None:
        script.steer(policy)
    runner = Runner(policy, stages, loop=Loop(workers=4))
    records: list[dict[str, Any]] = []
    wall, processor = time.perf_counter(), time.process_time()
    runner.run_missing({options.stage: set()}, {options.stage: options.episodes}, records.append)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    n = len(records)
    return {
        "episodes_per_second": n / wall,
        "processor_seconds_per_episode": processor / n,
        "well_formed": sum(r["well_formed"] for r in records) / n,
        "used_shell": sum(r["calls"] > 0 for r in records) / n,
        "drawn_tokens_per_episode": sum(r["cost"]["completion_tokens"] for r in records) / n,
        "prompt_tokens_per_episode": sum(r["cost"]["prompt_tokens"] for r in records) / n,
    }


class _Script:
    """Puts a scripted policy's words into the model's mouth, token by token, where they would have been drawn."""

    def __init__(self, lm: LanguageModel, name: str) -> None:
        self.lm, self.name = lm, name
        self.lines: dict[bytes, list[int]] = {}
        for module in (custodes.lm.engine, custodes.lm.stream):
            module.take = self._forced(module.take)  # type: ignore[attr-defined]

    def steer(self, policy: EnginePolicy) -> None:
        if isinstance(policy, ModelPolicy):
            flow = ModelFlow(policy)
            ask = flow.ask

            def asked(key: Any, conversation: Conversation) -> None:
                self._learn(conversation)
                ask(key, conversation)

            flow.ask = asked  # type: ignore[method-assign]
            policy.flow = lambda: flow  # type: ignore[method-assign]
            return
        replies = policy.replies

        def replied(conversations: Sequence[Conversation]) -> list[Drawn]:
            for conversation in conversations:
                self._learn(conversation)
            return replies(conversations)

        policy.replies = replied  # type: ignore[method-assign]

    def _learn(self, conversation: Conversation) -> None:
        variant = conversation.variant
        lines = script_for(open_script(self.name), variant.stage).replies(variant)
        said = sum(m.role == "assistant" for m in conversation.messages)
        reply = self.lm.encode_reply(lines[min(said, len(lines) - 1)]).tolist()
        self.lines[self.lm.encode(conversation.messages).tobytes()] = reply

    def _forced(self, take: Callable[..., None]) -> Callable[..., None]:
        def forced(logits: torch.Tensor, requests: list[Request], *more: Any) -> None:
            take(logits, requests, *more)
            for request in requests:
                request.tokens[-1] = self.lines[request.prompt.tobytes()][len(request.tokens) - 1]

        return forced


if __name__ == "__main__":
    run(main)
