"""Gold of the policies that runs of ``custodes quickstart`` saved, on all built-in held-out tasks; two releases side by side.

    python benchmarks/saved_policies.py sample runs/demo-0 --seed 1000 --out new-0.json
    python benchmarks/saved_policies.py compare --before old-0.json old-1.json --after new-0.json new-1.json

``sample`` runs under the release that made the run (set PYTHONPATH to its ``src``): four replies to each task, 64 tokens at
most. ``compare`` pairs the files by their place and their tasks by name, and gives the mean difference of gold, after minus
before, with a 95 % interval by task.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from custodes.environments import gold, instruction_tasks
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.types import Sampling

REPLIES, TOKENS = 4, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    asked = verbs.add_parser("sample")
    asked.add_argument("run", type=Path, help="folder of a run")
    asked.add_argument("--arm", default="careful")
    asked.add_argument("--model", default="smollm2-135m")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--out", type=Path, required=True)
    asked.set_defaults(do=sample)
    both = verbs.add_parser("compare")
    both.add_argument("--before", nargs="+", type=Path, required=True)
    both.add_argument("--after", nargs="+", type=Path, required=True)
    both.set_defaults(do=compare)
    chosen = parser.parse_args()
    chosen.do(chosen)


def sample(chosen: argparse.Namespace) -> None:
    lm = load(chosen.model, adapter=chosen.run / "policy" / chosen.arm / "adapter")
    tasks = [task for task in instruction_tasks() if task.metadata["split"] == "held_out"]
    golds: dict[str, list[float]] = {}
    for episode in TorchEngine(lm).generate(tasks, Sampling(n=REPLIES, max_tokens=TOKENS, seed=chosen.seed)):
        golds.setdefault(episode.task.id, []).append(gold(episode.task, episode.completion))
    chosen.out.write_text(json.dumps(golds))
    print(f"{chosen.run}: gold {np.mean(list(golds.values())):.3f} of {len(golds)} tasks")


def compare(chosen: argparse.Namespace) -> None:
    from custodes.stats import mean_interval

    differences: list[float] = []
    tasks: list[str] = []
    for before, after in zip(chosen.before, chosen.after, strict=True):
        a, b = json.loads(before.read_text()), json.loads(after.read_text())
        own = [float(np.mean(b[task]) - np.mean(a[task])) for task in a]
        print(f"{before} to {after}: {mean_interval(own)}")
        differences, tasks = differences + own, tasks + list(a)
    print(f"all: {mean_interval(differences, tasks)}")


if __name__ == "__main__":
    main()
