"""Does gold turn down while a proxy rises, and is less of it lost with an ensemble?

    python studies/gao_curve.py --out runs/gao-curve
    python studies/gao_curve.py --out runs/gao-curve --full    # three seeds

A small proxy learns from the replies to 100 instruction tasks; a quarter of its labels are turned round. Policies are
optimised against it without a KL penalty (PPO, 120 steps or until the KL passes a budget), and the best of up to 256 base
replies is taken on 48 tasks. Gold is the share of a task's checks that hold. Asked: does gold turn down (Gao, Schulman and
Hilton, arXiv 2210.10760)? Where do Gao's fits peak? Is less of the peak lost with an ensemble of 4 heads, by their mean, the
worst of them, or mean minus deviation (Coste et al., arXiv 2310.02743)?
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, Rows, by_task, options, over_seeds, split_instructions
from noisy_proxy import add_options, noisy_proxy, ppo

from custodes.audit.overoptimisation import (
    best_of_n_kl,
    best_of_n_values,
    fit_gao,
    overoptimisation_test,
    powers_of_two,
    root_kl,
)
from custodes.environments import GoldReward
from custodes.files import plain_json, save_json
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.stats import Interval, paired_difference
from custodes.types import Floats, Reward, Task

TOGETHER = 8
"""Tasks whose replies are drawn and scored at once for best-of-n."""


def main() -> None:
    parser = options(__doc__, "runs/gao-curve")
    add_options(parser)
    parser.set_defaults(steps=120, learning_rate=8e-4)
    parser.add_argument("--best-of", type=int, default=256, help="base replies to each task")
    parser.add_argument("--best-of-tasks", type=int, default=48)
    parser.add_argument("--members", type=int, default=4, help="of the ensemble")
    parser.add_argument("--kl-budget", type=float, default=80.0, help="nats an episode at which PPO ends")
    over_seeds(study, parser.parse_args(), "gao_curve")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    train, held_out = split_instructions(chosen.held_out)
    single = noisy_proxy(out, train, chosen, seed)
    ensemble = noisy_proxy(out, train, chosen, seed, chosen.members)
    rewards = {"single": single} | {c: replace(ensemble, combine=c) for c in ("mean", "worst", "cautious")}
    best = best_of_n(out / "best_of_n.json", single, held_out[: chosen.best_of_tasks], chosen, seed)
    arms, lost = {"best of n": best}, {}
    for name, reward in rewards.items():
        config = replace(ppo(chosen, seed), kl_budget=chosen.kl_budget)
        bench = Bench(out / name, chosen.model, train, held_out, {"proxy": reward, "gold": GoldReward()}, config, 1)
        last = bench.optimised("arm", reward, every=chosen.every)[1]
        course = bench.course("arm")
        steps = len(bench.steps("arm"))
        arms[name], lost[name] = judged(course | {steps: last}, bench)
    less = {name: paired_difference(lost["single"], own) for name, own in lost.items() if name != "single"}
    result = {"seed": seed, "arms": arms, "loss from the peak, single minus ensemble": less}
    return dict(plain_json(result))


def judged(course: dict[int, Rows], bench: Bench) -> tuple[dict[str, Any], Floats]:
    """What became of an arm's gold; and what each task lost of it from the highest checkpoint to the last."""
    gold, proxy = (
        np.stack([by_task(rows[name], bench.replies) for rows in course.values()]) for name in ("gold", "proxy")
    )
    distance = root_kl([float(np.mean(rows["kl"])) for rows in course.values()])
    names = [f"step {step}" if step else "the base model" for step in course]
    return told(gold, proxy, distance, names, "rl"), gold[int(gold.mean(1).argmax())] - gold[-1]


def best_of_n(file: Path, reward: Reward, tasks: list[Task], chosen: Any, seed: int) -> dict[str, Any]:
    """The curve of the best of 1, 2, 4, ... base replies by the single proxy; scores are made once and kept in ``file``."""
    if not file.exists():
        lm, sampling = load(chosen.model), replace(ppo(chosen, seed).sampling, n=chosen.best_of, seed=seed + 6)
        scores: dict[str, list[list[float]]] = {"proxy": [], "gold": []}
        for first in range(0, len(tasks), TOGETHER):
            replies = TorchEngine(lm).generate(tasks[first : first + TOGETHER], sampling)
            for name, own in (("proxy", reward), ("gold", GoldReward())):
                scores[name] += own.score(replies).value.reshape(-1, chosen.best_of).tolist()
        save_json(file, scores)
    scores, counts = json.loads(file.read_text()), powers_of_two(chosen.best_of)
    gold, proxy = (best_of_n_values(scores["proxy"], scores[name], counts) for name in ("gold", "proxy"))
    distance = np.sqrt([best_of_n_kl(n) for n in counts])
    return told(gold, proxy, distance, [f"n = {n}" for n in counts], "best_of_n")


def told(gold: Floats, proxy: Floats, distance: Floats, names: list[str], form: Any) -> dict[str, Any]:
    """The curve's points, Gao's fit of gold, and the verdict."""
    fit = fit_gao(distance[1:], gold[1:] - gold[0], form)
    points = [
        {"at": name, "sqrt kl": float(d)}
        | {which: gained(values, k) for which, values in (("gold", gold), ("proxy", proxy))}
        for k, (name, d) in enumerate(zip(names, distance, strict=True))
    ]
    return {"points": points, "fit": fit, "test": overoptimisation_test(gold, proxy, names)}


def gained(values: Floats, k: int) -> Interval:
    return paired_difference(values[k], values[0])


if __name__ == "__main__":
    main()
