"""Do rewards for steps teach more than the same reward at the end, and can a step reward be learned?

    python studies/step_rewards.py --out runs/step-rewards
    python studies/step_rewards.py --out runs/step-rewards --seeds 3    # fewer seeds

List tasks with a rule that code checks line by line: four lines about a topic, each of at most some number of words. A
step is a line. Gold is the share of the four lines that are there and keep the rule. Part one: a step reward learns from
marks of every step (arXiv 2305.20050), an outcome reward learns which answers keep the rule in every line. Asked: is the accuracy of the first on
held-out steps at least .80, and above that of the second? The second judges a step by the answer up to it, with the threshold that suits its
training steps best. Part two: PPO with a quarter for each right line, at the token that ends the line, against PPO with the
same sum at the answer's end. Asked: in which share of the steps does the first reach the final gold of the second?
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, by_task, config_of, drawn, options

from custodes.environments.topics import TOPICS
from custodes.feedback.kinds.step import joined_steps, step_ends, steps_of
from custodes.files import plain_json, save_json
from custodes.lm.loading import load
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.reward import RewardConfig, RewardModel
from custodes.reward.base import RewardBase
from custodes.stats import mean_interval, paired_difference, rate
from custodes.types import Episode, Message, Scores, Task

LINES, SAMPLES, WINDOW = 4, 4, 6
"""Lines that are asked for; replies to a task from which rewards learn; steps of optimisation whose gold is averaged."""


def main() -> None:
    parser = options(__doc__, "runs/step-rewards")
    parser.add_argument(
        "--tasks", type=int, default=150, help="training tasks, four replies each, that rewards learn from"
    )
    parser.add_argument("--seeds", type=int, default=5, help="of part two")
    parser.add_argument("--words", type=int, default=8, help="words of a line, at most, from 3 fewer to 2 more")
    parser.set_defaults(steps=24, tasks_per_step=8)
    chosen = parser.parse_args()
    train, held_out = list_tasks(chosen.words)
    found = {"learned": learned(chosen, train[: chosen.tasks], held_out[: chosen.held_out])}
    found["optimised"] = optimised(chosen, train, held_out[: chosen.held_out])
    save_json(chosen.out / "step_rewards.json", found := dict(plain_json(found)))
    print(json.dumps(found, indent=1))


# ---------------------------------------------------------------- the tasks


def list_tasks(most: int) -> tuple[list[Task], list[Task]]:
    """(training, held out) tasks: every topic with two numbers of words around ``most``; topics of one are not those of the other."""
    sides: tuple[list[Task], list[Task]] = ([], [])
    for k, topic in enumerate(TOPICS):
        for words in (most - 3 + k % 3, most + k % 3):
            asked = f"Write four short lines about {topic.text}. Each line has at most {words} words."
            task = Task(f"lines-{k}-{words}", (Message("user", asked),), metadata={"words": words})
            sides[topic.held_out].append(task)
    order = np.random.default_rng(0)
    return tuple([side[i] for i in order.permutation(len(side))] for side in sides)  # type: ignore[return-value]


def kept(episode: Episode) -> list[bool]:
    """Which lines keep the rule."""
    return [len(line.split()) <= episode.task.metadata["words"] for line in steps_of(episode.completion)]


class AtEnd(RewardBase):
    """Gold: the share of four lines that are there and keep the rule, at the end."""

    name = "gold"

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.array([sum(kept(e)[:LINES]) / LINES for e in episodes]))


class AtSteps(RewardBase):
    """The same sum, a part at the token that ends each line: without the line break after it no line would be short."""

    name = "steps"

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def score(self, episodes: Sequence[Episode]) -> Scores:
        token = np.full((len(episodes), max(len(e.token_ids) for e in episodes)), np.nan)
        for row, episode in zip(token, episodes, strict=True):
            actions = np.flatnonzero(episode.action_mask)
            row[actions] = 0.0
            for place, right in zip(self.places(episode, actions), kept(episode)[:LINES], strict=False):
                row[place] += right / LINES
        return Scores(np.zeros(len(episodes)), token=token)

    def places(self, episode: Episode, actions: np.ndarray) -> list[int]:
        """The first token that reaches beyond each line."""
        ids, text = episode.token_ids[actions].tolist(), episode.completion
        covered = np.array([len(self.tokenizer.decode(ids[: n + 1])) for n in range(len(ids))])
        lead = max(self.tokenizer.decode(ids).find(text), 0)
        at = np.searchsorted(covered, np.array(step_ends(text) if text.strip() else [], int) + lead, side="right")
        return [int(actions[min(place, len(actions) - 1)]) for place in at]


# ---------------------------------------------------------------- part one: learned


def learned(chosen: Any, train: Sequence[Task], held_out: Sequence[Task]) -> dict[str, Any]:
    """Accuracy on held-out steps of a reward of steps and of one of outcomes, paired by step."""
    out, sampling = chosen.out / "learned", replace(config_of(chosen, 0).sampling, n=SAMPLES, seed=4)
    lm = load(chosen.model)
    known, new = (
        [
            in_steps(e)
            for e in drawn(out / f"{name}.json", lm, tasks, replace(sampling, seed=seed))
            if e.completion.strip()
        ]
        for name, tasks, seed in (("training", train, 4), ("held_out", held_out, 5))
    )
    of_steps = [{"completions": steps_of(e.completion), "labels": kept(e)} for e in known]
    of_whole = [{"completion": e.completion, "label": all(kept(e))} for e in known]
    steps, outcome = (
        taught(
            out / name,
            [{"prompt": e.task.messages[-1].content} | row for e, row in zip(known, rows, strict=True)],
            chosen,
        )
        for name, rows in (("steps", of_steps), ("outcome", of_whole))
    )
    truth = np.array([right for e in new for right in kept(e)])
    tasks = [e.task.id for e in new for _ in kept(e)]
    told = np.concatenate(steps.mark_probabilities([e.messages for e in new], "steps")) > 0.5
    threshold = best_threshold(of_prefixes(outcome, known), np.array([right for e in known for right in kept(e)]))
    by_outcome = of_prefixes(outcome, new) > threshold
    return {
        "steps": rate(told == truth, tasks),
        "outcome": rate(by_outcome == truth, tasks),
        "the commoner mark": rate(truth == (truth.mean() > 0.5), tasks),
        "steps minus outcome": paired_difference((told == truth) * 1.0, (by_outcome == truth) * 1.0, tasks),
        "training answers": len(known),
    }


def in_steps(episode: Episode) -> Episode:
    """The answer as a file of steps has it: a blank line between steps."""
    text = joined_steps(steps_of(episode.completion))
    return replace(episode, messages=(*episode.task.messages, Message("assistant", text)))


def taught(out: Path, rows: Sequence[dict[str, Any]], chosen: Any) -> RewardModel:
    """The reward that ``custodes reward train`` makes of these rows."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "judgments.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = RewardConfig(epochs=3)
    return reward_train(
        RewardTrain(judgments=str(file), out=out / "reward", model=chosen.model, held_out=0.0, training=config)
    ).model


def of_prefixes(outcome: RewardModel, answers: Sequence[Episode]) -> np.ndarray:
    """(steps,) what the reward says of each answer that ends with the step."""
    prefixes = [
        (*e.task.messages, Message("assistant", e.completion[:end])) for e in answers for end in step_ends(e.completion)
    ]
    return outcome.score_messages(prefixes).value


def best_threshold(value: np.ndarray, truth: np.ndarray) -> float:
    """The threshold above which values are taken for right, by the accuracy on these."""
    order = np.argsort(value)
    wrong = np.concatenate([[0], np.cumsum(truth[order] * 1 - ~truth[order] * 1)])  # right ones below, minus wrong ones
    best = int(np.argmin(wrong))
    edges = np.concatenate([[-np.inf], value[order], [np.inf]])
    return float(edges[best]) if best < len(value) else np.inf


# ---------------------------------------------------------------- part two: optimised


def optimised(chosen: Any, train: Sequence[Task], held_out: Sequence[Task]) -> dict[str, Any]:
    """PPO with rewards at steps and at the end, over seeds."""
    rows = []
    for seed in range(chosen.seeds):
        config = replace(config_of(chosen, seed), algorithm="ppo")
        bench = Bench(chosen.out / f"seed-{seed}", chosen.model, train, held_out, {"gold": AtEnd()}, config, 2)
        tokenizer, curves, after = load(chosen.model).tokenizer, {}, {}
        for name, reward in (("end", AtEnd()), ("steps", AtSteps(tokenizer))):
            after[name] = by_task(bench.optimised(name, reward)[1]["gold"], 2)
            steps = bench.steps(name)
            curves[name] = np.array([np.mean(steps[step]["gold"]) for step in sorted(steps)])
        final = float(curves["end"][-WINDOW:].mean())
        rows.append({
            "seed": seed, "final gold, end": final, "share of the steps": reached(curves["steps"], final),
            "share of the steps, end": reached(curves["end"], final),
            "held-out gold, steps": float(after["steps"].mean()), "held-out gold, end": float(after["end"].mean()),
            "curves": {name: curve.round(4).tolist() for name, curve in curves.items()},
        })  # fmt: skip
    shares = [row["share of the steps"] for row in rows]
    gained = [row["held-out gold, steps"] - row["held-out gold, end"] for row in rows]
    return {
        "seeds": rows,
        "share of the steps": mean_interval([1.0 if share is None else share for share in shares]),
        "never reached": sum(share is None for share in shares),
        "held-out gold, steps minus end": mean_interval(gained),
    }


def reached(curve: np.ndarray, level: float) -> float | None:
    """After which share of the steps the mean gold of the last few is at ``level``; None where it never is."""
    width = min(WINDOW, len(curve))
    means = np.convolve(curve, np.full(width, 1 / width), "valid")
    at = np.flatnonzero(means >= level - 1e-9)
    return None if not len(at) else float(at[0] + width) / len(curve)


if __name__ == "__main__":
    main()
