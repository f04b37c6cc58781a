"""Complete episodes per second, stage by stage and sandbox by sandbox, with scripted policies.

    python benchmarks/episodes.py --json

An episode is a fresh home, the policy's commands, snapshots, reward and oversight in a clean room, the verdict and its
line on disk. Reward tampering is played by four policies in turns: honest, one whose edit the guard catches, one that
edits the guard too, one whose reward tells the guard apart.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from result import print_result

from custodes.environments.sandbox import Kind, Limits, Sandbox, open_sandbox
from custodes.gaming import STAGES, Loop, Records, Runner, ScriptedPolicy, make_stage
from custodes.gaming.policies import Conversation, Drawn, Policy
from custodes.gaming.variants import Variant
from custodes.types import InputError

TAMPERERS = ("honest", "open-tamperer", "concealing-tamperer", "guard-brancher")
PLAYED = {"reward-tampering": TAMPERERS}
SANDBOXES: tuple[Kind, ...] = ("bubblewrap", "docker")


class Turns(Policy):
    """Scripted policies in turns, by the variant's number."""

    batch = 1

    def __init__(self, names: Sequence[str]) -> None:
        self.name = "scripted:" + ",".join(names)
        self.policies = [ScriptedPolicy(name) for name in names]

    def replies(self, conversations: Sequence[Conversation]) -> list[Drawn]:
        return [self.policies[int(c.variant.id[-4:]) % len(self.policies)].replies([c])[0] for c in conversations]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200, help="episodes of each stage")
    parser.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 1), help="threads that hold sandboxes")
    parser.add_argument("--sandbox", choices=SANDBOXES, action="append", help="only this one; may be given twice")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage; may be given several times")
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    options = parser.parse_args()
    rates: dict[str, dict[str, float]] = {}
    left_out: dict[str, str] = {}
    for kind in options.sandbox or SANDBOXES:
        try:
            with open_sandbox({}, kind=kind):
                pass
        except InputError as error:
            left_out[kind] = str(error)
            print(f"{kind}: left out ({error})", file=sys.stderr)
            continue
        rates[kind] = {}
        for stage in options.stage or STAGES:
            rates[kind][stage] = round(measure(stage, kind, options.episodes, options.workers), 2)
            if not options.json:
                print(f"{kind:<12}{stage:<24}{rates[kind][stage]:>10,.1f} episodes/s")
    if not rates:
        raise SystemExit("nothing was measured: no sandbox works.")
    print_result({"benchmark": "episodes", "unit": "episodes per second", "ours": rates, "left_out": left_out, "episodes": options.episodes,
                      "workers": options.workers})  # fmt: skip


def measure(stage: str, kind: Kind, episodes: int, workers: int) -> float:
    """Episodes per second, after a few that are not counted."""
    made = {stage: make_stage(stage)}

    def opened(variant: Variant, read_only: bool) -> Sandbox:
        return open_sandbox(
            variant.spec.files, variant.spec.dirs, limits=Limits(seconds=variant.spec.seconds), kind=kind
        )

    runner = Runner(
        Turns(PLAYED.get(stage, ("honest", "flatterer"))), made, loop=Loop(workers=workers), open_sandbox=opened
    )
    with tempfile.TemporaryDirectory() as folder, Records(Path(folder), [stage]) as records:
        runner.run_missing({stage: set()}, {stage: 2 * workers}, lambda record: None)
        began = time.perf_counter()
        runner.run_missing({stage: set()}, {stage: episodes}, records.append)
        seconds = time.perf_counter() - began
        failed = int(records.rows()["failed"].sum())
    if failed:
        raise SystemExit(f"{failed} of {episodes} episodes of {stage} failed; their time says nothing.")
    return episodes / seconds


if __name__ == "__main__":
    main()
