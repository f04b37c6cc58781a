"""Are labels in rounds worth more than as many at once?

    python studies/rounds.py --out runs/rounds
    python studies/rounds.py --out runs/rounds --full    # three seeds

Instruction tasks, replies of the base model, simulated judges who see gold (the share of a task's checks that hold), one a pair.
Two arms with 2,400 labels each. *Once*: a reward from 2,400 pairs of the base model's replies, and a policy on it. *Rounds*: a
reward from a third of them, and after each of two alarms a third more, on the present policy's replies. An alarm rings
where the policy is 5 nats farther than the one that was judged last. No KL penalty, so that the policies go far. The policy of *once* makes as
many steps as that of the last round. Asked: is the first reward less often right on the final samples than held out, and is
the last one restored? Is final gold of *rounds* above that of *once*? Does a second policy get as far on the final reward?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from arms import config_of, drawn, options, over_seeds, split_instructions

from custodes.audit import RecordedRun
from custodes.audit.heldout import chosen_row, task_matrix
from custodes.audit.sections.rounds import FINAL, RewardOnPairs, agreed
from custodes.environments import gold
from custodes.feedback.collection import Feedback
from custodes.feedback.records import write_judgments
from custodes.feedback.simulated import simulated_annotators
from custodes.files import plain_json
from custodes.ledger import Ledger
from custodes.lm.loading import load
from custodes.loop.policy_optimise import PolicyOptimise, policy_optimise
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.loop.round_judges import CROWD, SimulatedJudge
from custodes.loop.round_options import RoundOptions
from custodes.policy import OptimiseConfig
from custodes.reward import RewardConfig
from custodes.stats import Interval, mean_interval, paired_difference, weighted_sum
from custodes.tables import write_rows
from custodes.types import Episode, Task

ROUNDS, SAMPLES = 3, 4
GOLD = "from custodes.environments import GoldReward\n"


def main() -> None:
    parser = options(__doc__, "runs/rounds")
    parser.add_argument("--labels", type=int, default=2400, help="of each arm")
    parser.add_argument("--kl", type=float, default=5.0, help="nats between two purchases of labels")
    parser.add_argument("--train", type=int, default=1900, help="training tasks")
    parser.set_defaults(steps=48, learning_rate=8e-4)
    over_seeds(study, parser.parse_args(), "rounds")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    out.mkdir(parents=True, exist_ok=True)
    train, held_out = split_instructions(chosen.held_out)
    train = train[: chosen.train]
    write_tasks(out / "train.jsonl", train)
    write_tasks(out / "held_out.jsonl", held_out)
    (out / "gold.py").write_text(GOLD)
    config = replace(config_of(chosen, seed), kl_coefficient=0.0)
    asked = train[: max(1, chosen.labels // 6)]
    replies = drawn(out / "judged.json", load(chosen.model), asked, replace(config.sampling, n=SAMPLES, seed=seed + 4))
    part = chosen.labels // ROUNDS
    for name, count in (("rounds", part), ("once", chosen.labels)):
        judged = judgments_of(replies, count, seed)
        write_judgments(out / f"{name}.jsonl", judged.judgments, judged)
        training = RewardConfig(members=2, ensemble="heads", seed=seed)
        reward_train(
            RewardTrain(
                judgments=str(out / f"{name}.jsonl"),
                out=out / f"reward-{name}",
                model=chosen.model,
                held_out=0.2,
                training=training,
            )
        )
    options_ = RoundOptions(
        rounds=ROUNDS, judge="simulated", relabel=f"kl:{chosen.kl:g}", labels=part, final_labels=400, relearn=True
    )
    done = policy_optimise(arm(out, "rounds", chosen, config, options_)).seeds[0]
    steps = done.steps
    policy_optimise(arm(out, "once", chosen, replace(config, steps=steps), RoundOptions()))
    return dict(plain_json({"seed": seed} | compared(out, done.rounds, steps)))


def arm(out: Path, name: str, chosen: Any, config: OptimiseConfig, rounds: RoundOptions) -> PolicyOptimise:
    return PolicyOptimise(
        out=out / name,
        tasks=str(out / "train.jsonl"),
        eval_tasks=str(out / "held_out.jsonl"),
        reward=(str(out / f"reward-{name}"),),
        gold=f"{out}/gold.py:GoldReward",
        model=chosen.model,
        measure_on=chosen.held_out,
        evaluate_every=1000,
        optimisation=config,
        relabelling=rounds,
    )


def judgments_of(replies: Sequence[Episode], count: int, seed: int) -> Feedback:
    """``count`` pairs of replies within tasks, spread evenly over these, each judged by one of the crowd."""
    by_task: dict[str, list[Episode]] = {}
    for reply in replies:
        by_task.setdefault(reply.task.id, []).append(reply)
    rng = np.random.default_rng([seed, 23])
    each = [[p for p in combinations(same, 2) if p[0].completion != p[1].completion] for same in by_task.values()]
    each = [[pairs[i] for i in rng.permutation(len(pairs))] for pairs in each]
    turns = [pairs[turn] for turn in range(6) for pairs in each if turn < len(pairs)]
    judge = SimulatedJudge(
        simulated_annotators(CROWD, seed=seed), lambda some: [gold(e.task, e.completion) for e in some], seed=seed
    )
    told = judge.ask("", turns[:count])
    episodes = {e.id: e for pair in turns[:count] for e in pair}
    tasks = {e.task.id: e.task for e in episodes.values()}
    return Feedback(tasks, episodes, list(told.judgments), {one.id: one for one in told.annotators})  # type: ignore[union-attr]


def write_tasks(file: Path, tasks: Sequence[Task]) -> None:
    """Prompts with what gold needs, written once: the file is what a run is held to."""
    if not file.exists():
        write_rows(file, [{"prompt": [m.to_dict() for m in t.messages]} | dict(t.metadata) for t in tasks])


def compared(out: Path, rounds: dict[str, Any], steps: int) -> dict[str, Any]:
    """What was asked, with intervals."""
    with (
        Ledger.open(out / "rounds/ledger.db", read_only=True) as ledger,
        Ledger.open(out / "once/ledger.db", read_only=True) as other,
    ):
        source, once = (RecordedRun(one, one.runs()[-1].id) for one in (ledger, other))
        asked = {name: next(r for r in rows if r.where == FINAL) for name, rows in source.rows(RewardOnPairs).items()}
        last = f"rloo, round {len(rounds['rounds'])}" if len(rounds["rounds"]) > 1 else "rloo"
        golds = task_matrix([chosen_row(source.heldout[last]), chosen_row(once.heldout["rloo"])], "gold")
        kl = {"rounds": chosen_row(source.heldout[last]).kl, "once": chosen_row(once.heldout["rloo"]).kl}
    assert golds is not None
    first, final = rounds["rewards"][0], rounds["rewards"][-1]
    tasks = [task for task, side in zip(asked[first["name"]].task, asked[first["name"]].label, strict=True) if side]
    right = {name: [float(x) for x in agreed(row.margin, row.label)] for name, row in asked.items()}
    return {
        "rounds": rounds["rounds"],
        "labelled": rounds["labelled"],
        "rewards": rounds["rewards"],
        "steps of the last round, and of once": steps,
        "KL": {name: mean_interval(values) for name, values in kl.items()},
        "first reward, final samples minus held out": on_final_minus_held_out(first),
        "last reward, final samples minus held out": on_final_minus_held_out(final),
        "last minus first reward on final samples": paired_difference(
            right[final["name"]], right[first["name"]], tasks
        ),
        "gold": {"rounds": mean_interval(golds[0]), "once": mean_interval(golds[1])},
        "gold, rounds minus once": paired_difference(golds[0], golds[1]),
        "relearned minus rounds": rounds["relearned"],
    }


def on_final_minus_held_out(reward: dict[str, Any]) -> Interval:
    """Of two independent samples of pairs."""
    return weighted_sum((1.0, reward["on"][FINAL]), (-1.0, reward["held_out"]))


if __name__ == "__main__":
    main()
