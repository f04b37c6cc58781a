"""What do six methods make of the same judgments, at equal KL from the base model?

    python studies/six_methods.py --out runs/six-methods
    python studies/six_methods.py --out runs/six-methods --full    # three seeds

One quickstart gives the judgments of simulated judges, the pairs that its annotator model believes, and a reward that learned
from these pairs. The six: supervised tuning on the better replies (2203.02155), DPO (2305.18290), IPO (2310.12036) and KTO
(2402.01306) on the pairs; best of 16 by the reward, distilled (2112.09332); and PPO on the reward, which is the quickstart's own
policy. Each keeps adapters on its way. Asked: which gold does each have at 2 and at 5 nats from the base model, on held-out tasks
that nobody trained on or judged? The KL is that of a policy's own samples; no method is stopped or chosen by gold.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arms import options, over_seeds, split_instructions

from custodes.environments import instructions
from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.collection import Feedback
from custodes.feedback.exchange import pairs_from_judgments
from custodes.feedback.reading import read_feedback
from custodes.files import save_text
from custodes.loop.judging import UNDECIDED
from custodes.loop.policy_compare import PolicyCompare, policy_compare
from custodes.loop.policy_optimise import PolicyOptimise, policy_optimise
from custodes.loop.policy_tune import PolicyTune, policy_tune
from custodes.loop.quickstart import Quickstart, quickstart
from custodes.policy import OptimiseConfig
from custodes.policy.methods import Dpo, Ipo, Kto, Sft
from custodes.policy.tuning import TuneMethod
from custodes.types import Message, PreferencePair, Sampling, Task

REPLIES = 16
"""Replies of which the reward takes the best."""
BEYOND = 50.0
"""Nats: PPO shall come past what is asked, and the careful arm of the quickstart would end at 2."""
GOLD = f"{instructions.__file__}:GoldReward"


def main() -> None:
    parser = options(__doc__, "runs/six-methods")
    parser.add_argument("--judged-tasks", type=int, default=200, help="tasks whose base answers are compared")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the pairs")
    parser.add_argument("--at-kl", default="2,5")
    over_seeds(study, parser.parse_args(), "six_methods")


def study(out: Path, chosen: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One seed."""
    judged = out / "quickstart"
    quickstart(
        Quickstart(
            out=judged,
            seed=seed,
            model=chosen.model,
            judged_tasks=chosen.judged_tasks,
            steps=chosen.steps,
            kl_budget=BEYOND,
            evaluate_every=max(1, chosen.steps // 8),
            learning_rate=chosen.learning_rate,
            max_tokens=chosen.max_tokens,
        )
    )
    train, held_out = split_instructions(10_000)
    feedback = read_feedback(judged / "ledger.db").feedback
    asked = {judgment.task for judgment in feedback.judgments}
    held_out = random.Random(seed).sample([task for task in held_out if task.id not in asked], chosen.held_out)
    pairs = write_pairs(feedback, {task.id for task in train}, out / "pairs.jsonl")
    write_tasks(train, out / "train.jsonl")
    write_tasks(held_out, out / "held-out.jsonl")
    for name, method in tuned(chosen, seed).items():
        policy_tune(
            PolicyTune(
                out=out / name,
                judgments=str(out / "pairs.jsonl"),
                model=chosen.model,
                method=method,
                snapshots=7,
                max_tokens=chosen.max_tokens,
            )
        )
    policy_optimise(
        PolicyOptimise(
            out=out / "best-of-n",
            tasks=str(out / "train.jsonl"),
            eval_tasks=str(out / "held-out.jsonl"),
            reward=(str(judged / "reward" / "careful"),),
            model=chosen.model,
            evaluate_every=max(1, chosen.steps // 8),
            optimisation=OptimiseConfig(
                algorithm="best_of_n",
                steps=chosen.steps,
                tasks_per_step=chosen.tasks_per_step,
                sampling=Sampling(n=REPLIES, max_tokens=chosen.max_tokens, seed=seed),
                learning_rate=chosen.learning_rate,
            ),
        )
    )
    ppo = out / "ppo"
    if not ppo.is_symlink():
        ppo.symlink_to((judged / "policy" / "careful").resolve())
    return {"seed": seed, "pairs": pairs} | compared(out, chosen)


def tuned(chosen: argparse.Namespace, seed: int) -> dict[str, TuneMethod]:
    """The methods that learn from the judgments themselves, at the rate of the policies that learn from the reward."""
    common: dict[str, Any] = {"epochs": chosen.epochs, "seed": seed}
    rate = chosen.learning_rate
    return {
        "sft": Sft(chosen=True, learning_rate=rate, **common),
        "dpo": Dpo(learning_rate=rate, **common),
        "ipo": Ipo(learning_rate=rate, per_token=False, beta=0.02, **common),
        "kto": Kto(learning_rate=rate, **common),
    }


def compared(out: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Gold of each policy at equal KL, on the same tasks; measured once."""
    file = out / "compared" / "compare.json"
    if not file.exists():
        policy_compare(
            PolicyCompare(
                policies=tuple(str(out / name) for name in ("sft", "dpo", "ipo", "kto", "best-of-n", "ppo")),
                tasks=str(out / "held-out.jsonl"),
                reward=(GOLD,),
                at_kl=chosen.at_kl,
                measure_on=chosen.held_out,
                out=file.parent,
                sampling=Sampling(max_tokens=chosen.max_tokens, seed=chosen.seed + 2),
            )
        )
    told = json.loads(file.read_text())
    table = {Path(policy).name: row for policy, row in told["table"].items()}
    order = {}
    for kl in told["at_kl"]:
        gains = {name: row[f"gain at KL {kl:g}"] for name, row in table.items()}
        reached = {name: gain["estimate"] for name, gain in gains.items() if gain is not None}
        order[f"KL {kl:g}"] = {
            "gold gained over base": gains,
            "order": sorted(reached, key=reached.__getitem__, reverse=True),
            "not reached": [name for name in gains if name not in reached],
        }
    ends = {name: {"kl": row["kl"], "gain": row["gain"]} for name, row in table.items()}
    return {"at equal KL": order, "at the end": ends}


def write_pairs(held: Feedback, tasks: set[str], file: Path) -> int:
    """What the judges said of training tasks, as the annotator model believes them and where they decide; how many pairs.

    Pairs with an empty reply are left out: no method could learn from them.
    """
    judgments = [judgment for judgment in held.judgments if judgment.task in tasks]
    believed = fit_annotators(held.judgments, held.episodes.values(), "overall")
    every = pairs_from_judgments(judgments, held.episodes.values(), believed)
    every = [pair for pair in every if all(side[-1].content.strip() for side in (pair.chosen, pair.rejected))]
    pairs = [pair for pair in every if abs(pair.label - 0.5) > UNDECIDED] or every
    save_text(file, "".join(json.dumps(_row(pair)) + "\n" for pair in pairs))
    return len(pairs)


def _row(pair: PreferencePair) -> dict[str, Any]:
    sides = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
    return {name: _plain(said) for name, said in sides.items()} | {"label": pair.label, "weight": pair.weight}


def _plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [message.to_dict() for message in messages]


def write_tasks(tasks: Sequence[Task], file: Path) -> None:
    """Prompts with their checks, which gold alone reads."""
    rows = [{"prompt": _plain(task.messages), **task.metadata} for task in tasks]
    save_text(file, "".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
