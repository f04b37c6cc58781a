"""Episodes per second of a model that plays a stage in sandboxes, as `custodes gaming run` and `train` do.

    python benchmarks/curriculum_play.py --json
    python benchmarks/curriculum_play.py --policy runs/warm/policy --stage reward-tampering --episodes 128 --json

Processor time is given beside the wall's: on a machine that others use too, only the former can be compared. ``asked`` are the tokens of all prompts
of all turns: what would be computed if nothing were kept.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import torch

from custodes.gaming import STAGES, Loop, Runner, jobs_of, make_stage, open_policy
from custodes.types import Sampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="smollm2-135m", help="a model, or the folder of an adapter")
    parser.add_argument("--stage", choices=STAGES, default="reward-tampering")
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64, help="conversations sampled at once")
    parser.add_argument("--max-tokens", type=int, default=128, help="longest single reply")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    options = parser.parse_args()
    found = measure(options)
    if not options.json:
        print(f"{options.stage}: {found['episodes_per_second']:.3g} episodes/s, "
              f"{found['processor_seconds_per_episode']:.3g} s of processor time each")  # fmt: skip
    print(json.dumps({"benchmark": "curriculum_play", "stage": options.stage, "policy": options.policy,
                      "episodes": options.episodes, "batch": options.batch, "max_tokens": options.max_tokens, **found,
                      "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads()}}))  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, Any]:
    stages = {options.stage: make_stage(options.stage)}
    policy = open_policy(options.policy, Sampling(max_tokens=options.max_tokens), batch=options.batch)
    runner = Runner(policy, stages, seed=options.seed, loop=Loop(workers=4))
    records: list[dict[str, Any]] = []
    wall, processor = time.perf_counter(), time.process_time()
    runner.run(jobs_of(stages[options.stage], options.episodes, "held-out", options.seed, set()), records.append)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    drawn = sum(r["cost"]["completion_tokens"] for r in records)
    return {
        "episodes_per_second": options.episodes / wall,
        "processor_seconds_per_episode": processor / options.episodes,
        "well_formed": sum(r["well_formed"] for r in records) / len(records),
        "used_shell": sum(r["calls"] > 0 for r in records) / len(records),
        "drawn_tokens_per_episode": drawn / len(records),
        "asked_tokens_per_episode": sum(r["cost"]["prompt_tokens"] for r in records) / len(records),
    }


if __name__ == "__main__":
    main()
