"""Does a reward with a head for each group serve a minority that one reward for everybody fails, on a real model?

    python studies/minority_heads.py --out runs/minority-heads
    python studies/minority_heads.py --out runs/minority-heads --full    # three seeds

Replies of the base model to instruction tasks have two attributes. 28 simulated annotators want much of the first, 12
little of it, and all want much of the second: worth is 1.35 (±first + second / 2), each attribute in standard deviations within a
task, and a judge adds logistic noise. Everybody compares 30 pairs. ``reward train`` learns one reward for everybody, and with
``--groups 2`` a head for each group (MaxMin-RLHF, arXiv 2402.08925). Asked, on held-out tasks: are the annotators in the right groups
(.95 of them)? Is the accuracy for the minority at least .25 higher with a head of its own (lower bound above .15)? Is r2 at 70 to 30
below r2 at 100 to 0, with intervals apart? A linear probe says how well the features carry each attribute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from arms import config_of, drawn, options, over_seeds, split_instructions
from scipy.optimize import linear_sum_assignment
from scipy.special import expit
from torch import nn, zeros

from custodes.environments import gold
from custodes.feedback.reading import read_feedback
from custodes.files import plain_json
from custodes.lm.loading import LanguageModel, load
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.reward import RewardConfig, RewardModel
from custodes.reward.group_training import NamedPairs, find_reward_groups
from custodes.reward.model import last_hidden_states
from custodes.stats import Interval, paired_difference, rank_correlation, rate
from custodes.types import Episode, Floats

Pair = tuple[int, int]
WORTH, PEOPLE, MINORITY, EACH, SAMPLES = 1.35, 40, 12, 30, 4
ATTRIBUTES: dict[str, Callable[[Episode], float]] = {
    "length": lambda e: float(np.log1p(len(e.completion))),
    "lines": lambda e: float("\n" in e.completion.strip()),
    "checks": lambda e: gold(e.task, e.completion),
}
"""The logarithm of the length in characters; 1 for several lines; the share of the task's checks that hold."""


def main() -> None:
    parser = options(__doc__, "runs/minority-heads")
    parser.add_argument("--tasks", type=int, default=300, help="training tasks, four replies each")
    parser.add_argument("--attributes", default="length,lines", help=f"two of {', '.join(ATTRIBUTES)}")
    parser.add_argument("--epochs", type=int, default=3)
    over_seeds(study, parser.parse_args(), "minority_heads")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    train, held_out = split_instructions(chosen.held_out)
    lm, sampling = load(chosen.model), replace(config_of(chosen, seed).sampling, n=SAMPLES, seed=seed + 4)
    taught = drawn(out / "training.json", lm, train[: chosen.tasks], sampling)
    asked = drawn(out / "held_out.json", lm, held_out, replace(sampling, seed=seed + 5))
    names = chosen.attributes.split(",")
    of = {name: within_tasks([measure(e) for e in taught + asked]) for name, measure in ATTRIBUTES.items()}
    first, second = (of[name] / (of[name].std() or 1.0) for name in names)
    wants = {"majority": WORTH * (first + second / 2), "minority": WORTH * (second / 2 - first)}
    pairs, others = compared(taught), compared(asked)
    rng, replies = np.random.default_rng([seed, 8]), taught + asked
    file, alike = (out / name for name in ("judgments.jsonl", "alike.jsonl"))
    judge(file, replies, pairs, wants, MINORITY, rng)
    judge(alike, replies, pairs, wants, 0, rng)
    pooled, mixture = (
        reward_train(RewardTrain(
            judgments=str(file), out=out / f"reward-{name}", model=chosen.model, groups=groups, held_out=0.0,
            training=RewardConfig(epochs=chosen.epochs, seed=seed),
        ))
        for name, groups in (("pooled", None), ("mixture", 2))
    )  # fmt: skip
    assert mixture.groups is not None
    place, inside = placed(mixture.groups.held["membership"])
    value, parts = pooled.model.score(asked).value, mixture.model.score(asked).parts
    right, gain, tasks = {}, {}, [asked[i].task.id for i, _ in others]
    for k, (group, worth) in enumerate(wants.items()):
        truth = worth[len(taught) :]
        chose = rng.random(len(others)) < expit(differences(truth, others))
        scores = {"pooled": value, "mixture": parts[mixture.groups.axes[place[k]]], "truth": truth}
        own = {name: ((differences(score, others) > 0) == chose).astype(float) for name, score in scores.items()}
        right |= {f"{name}, {group}": rate(agreed, tasks) for name, agreed in own.items()}
        gain[group] = paired_difference(own["mixture"], own["pooled"], tasks)
    same = NamedPairs.of((held := read_feedback(str(alike)).feedback).judgments, held, "overall", alike.name)
    one = find_reward_groups(lm, same, 1, (), RewardConfig(seed=seed), alike.name)[0]
    result = {
        "seed": seed, "membership": rate(inside), "accuracy": right, "mixture minus pooled": gain,
        "r2 at 70 to 30": mixture.groups.held["r2"], "r2 at 100 to 0": one.held["r2"],
        "rank correlation of a probe": probe(lm, replies, of, seed),
    }  # fmt: skip
    return dict(plain_json(result))


def within_tasks(values: Sequence[float]) -> Floats:
    """The attribute minus its mean over the replies of the same task."""
    table = np.asarray(values, float).reshape(-1, SAMPLES)
    return (table - table.mean(1, keepdims=True)).ravel()


def compared(replies: Sequence[Episode]) -> list[Pair]:
    """Every two different replies, neither of them empty, of one task, by their places."""
    return [
        (i, j)
        for first in range(0, len(replies), SAMPLES)
        for i, j in combinations(range(first, first + SAMPLES), 2)
        if replies[i].completion.strip()
        and replies[j].completion.strip()
        and replies[i].completion != replies[j].completion
    ]


def differences(worth: Floats, pairs: Sequence[Pair]) -> Floats:
    """(P,) the worth of each pair's first minus that of its second."""
    i, j = np.array(pairs).T
    return worth[i] - worth[j]


def judge(
    file: Path,
    replies: Sequence[Episode],
    pairs: Sequence[Pair],
    wants: dict[str, Floats],
    few: int,
    rng: np.random.Generator,
) -> None:
    """Write what 40 annotators say of pairs that are drawn for each of them; the last ``few`` are the minority."""
    rows = []
    for k in range(PEOPLE):
        group = "minority" if k >= PEOPLE - few else "majority"
        own = [pairs[n] for n in rng.choice(len(pairs), min(EACH, len(pairs)), replace=False)]
        chose = rng.random(len(own)) < expit(differences(wants[group], own))
        for (i, j), better in zip(own, chose, strict=True):
            good, bad = (i, j) if better else (j, i)
            row = {"prompt": replies[i].task.messages[-1].content, "annotator": f"{group}-{k:02d}"}
            rows.append(row | {"chosen": replies[good].completion, "rejected": replies[bad].completion})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def placed(membership: dict[str, Sequence[float]]) -> tuple[list[int], list[float]]:
    """The found group of the majority and of the minority; of each annotator, 1 where they are in their group."""
    found = np.array([int(np.argmax(own)) for own in membership.values()])
    truth = np.array([int(name.startswith("minority")) for name in membership])
    table = np.zeros((2, 2))
    np.add.at(table, (truth, found), 1)
    place = linear_sum_assignment(-table)[1]
    return place.tolist(), (place[truth] == found).astype(float).tolist()


def probe(lm: LanguageModel, replies: Sequence[Episode], of: dict[str, Floats], seed: int) -> dict[str, Interval]:
    """How well the model's last hidden state carries each attribute: rank correlation of ridge regression's prediction, over
    five folds of tasks."""
    bare = RewardModel(replace(lm, adapter=None), nn.Parameter(zeros(1, lm.decoder.spec.hidden)))
    kept = [i for i, e in enumerate(replies) if e.completion.strip()]
    hidden = np.zeros((len(replies), lm.decoder.spec.hidden))
    hidden[kept] = last_hidden_states(bare, [replies[i] for i in kept])
    hidden = np.stack([within_tasks(column) for column in hidden.T], axis=1)
    left, size, _ = np.linalg.svd(hidden, full_matrices=False)
    x = left[:, : min(62, len(size))] * np.sqrt(len(left))
    fold = np.random.default_rng([seed, 9]).permutation(len(replies) // SAMPLES).repeat(SAMPLES) % 5
    found = {}
    for name, y in of.items():
        told = np.zeros(len(y))
        for k in range(5):
            known, new = fold != k, fold == k
            weights = np.linalg.solve(x[known].T @ x[known] + 50 * np.eye(x.shape[1]), x[known].T @ y[known])
            told[new] = x[new] @ weights
        found[name] = rank_correlation(told, y)
    return found


if __name__ == "__main__":
    main()
