"""Answers criticised and revised by the principles of a rubric: what ``custodes feedback revise`` does.

The supervised half of constitutional AI (arXiv 2212.08073, section 3): a model answers, says by one principle what is
wrong with its answer, and writes the answer again. The revision is preferred to the first answer, and is a
demonstration. Principles are taken in an order that is drawn for each prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from custodes.environments import read_tasks
from custodes.feedback.rubric import Rubric, load_rubric
from custodes.job.command import command
from custodes.job.options import Output, Use
from custodes.job.parts import Parts
from custodes.lm.address import open_engine
from custodes.ranges import Count, ranged
from custodes.reward.rubric import RubricReward
from custodes.stats import Interval, mean_interval, paired_difference
from custodes.tables import write_rows
from custodes.types import Engine, Episode, InputError, Message, Sampling, Task

CRITICISE = """\
{introduction}# Request
{request}

# Answer
{answer}

# Principle
{principle}

Say in one or two sentences where the answer does not hold to the principle, and what would be better."""
REWRITE = "Write the whole answer again so that it holds to the principle. Write the new answer and nothing else."


@dataclass(frozen=True, kw_only=True)
@ranged
class FeedbackRevise:
    """Let a model criticise and revise its own answers by the principles of a rubric, and keep both as a preference."""

    tasks: str
    """Prompts: a table (.jsonl, .json, .csv, .parquet) or a hub id, with a column prompt or messages."""
    rubric: Path
    """YAML file with the principles by which a judge grades."""
    out: Output
    """Preferences to write, revision over first answer: .jsonl, .json or .parquet."""
    demonstrations_out: Annotated[Path | None, Use.SIDE_OUTPUT] = None
    """Also write the revisions as demonstrations, for policy tune --method sft: .jsonl, .json or .parquet."""
    model: str = "smollm2-135m"
    """Who answers and revises: an embedded model, a folder, a .gguf file, a hub id, or endpoint:URL#MODEL."""
    revisions: Count = 1
    """How often an answer is revised, each time by the next principle."""
    prompt_column: str = ""
    """The column with the prompt, where it is not called prompt or messages."""
    system: str = ""
    """System message that opens every conversation."""
    sampling: Sampling = field(default_factory=Sampling)
    """How the first answer, the critique and the revision are drawn."""

    def __post_init__(self) -> None:
        if self.sampling.n != 1:
            raise InputError(f"--n {self.sampling.n}: one answer is revised for each prompt; leave it out.")


@dataclass(frozen=True, slots=True)
class Revised:
    """What revising came to, by the model's own grades: nobody else has judged."""

    rows: int
    unchanged: int
    """Prompts whose last revision is empty or the first answer again; they are left out."""
    grade: Interval
    """How much more the revision holds to the rubric than the first answer, by the model's own grades (0 to 1), paired."""
    length: Interval
    """By how many characters the revision is longer."""
    out: Path

    def to_dict(self) -> dict[str, Any]:
        measured = {"grade": self.grade.to_dict(), "length": self.length.to_dict()}
        return {"rows": self.rows, "unchanged": self.unchanged, **measured, "out": str(self.out)}

    def __str__(self) -> str:
        return (
            f"{self.rows:,} preferences are in {self.out}; {self.unchanged:,} answers stayed as they were and are left out.\n"
            f"By its own grades (0 to 1) a revision holds to the rubric more than the first answer by: {self.grade}.\n"
            f"A revision is longer by, in characters: {self.length}."
        )


@command(resumes=True)
def feedback_revise(config: FeedbackRevise) -> Revised:
    """Let a model criticise and revise its own answers by the principles of a rubric.

    Called again after an interruption it goes on. Raises InputError where nothing can be asked, and where no answer changed.
    """
    rubric = load_rubric(config.rubric)
    tasks = read_tasks(config.tasks, config.prompt_column, config.system)
    engine = open_engine("torch", config.model, "--model")
    identity = {"model": config.model, "rubric": rubric.model_dump(mode="json"), "revisions": config.revisions}
    by_id = {task.id: task for task in tasks}
    with Parts.open(config.out, identity | {"sampling": repr(config.sampling)}) as parts:
        ask = lambda some: _revised(engine, some, rubric, config)  # noqa: E731
        rows = parts.answers(by_id, ask, "Answering and revising", chunk=16)
        changed = [row for row in rows if row["revision"].strip() not in ("", row["answer"].strip())]
        if not changed:
            raise InputError(
                f"{config.model} changed none of its {len(rows)} answers; let another model revise, or reword the principles."
            )
        grades = parts.answers(
            {f"grade {row['task']}": row for row in changed},
            lambda some: _graded(engine, some, rubric, by_id),
            "Grading both",
            chunk=16,
        )
    before, after = np.array(grades, float).T
    known = ~np.isnan(before) & ~np.isnan(after)
    lengths = [len(row["revision"]) - len(row["answer"]) for row in changed]
    write_rows(config.out, [_row(row, by_id[row["task"]]) for row in changed])
    if config.demonstrations_out is not None:
        write_rows(config.demonstrations_out, [_demonstration(row, by_id[row["task"]]) for row in changed])
    grade = paired_difference(after[known], before[known])
    return Revised(len(changed), len(rows) - len(changed), grade, mean_interval(lengths), config.out)


def _revised(engine: Engine, tasks: Sequence[Task], rubric: Rubric, config: FeedbackRevise) -> list[dict[str, Any]]:
    """Answer, critiques and revision of each task, as JSON has them."""
    drawn = engine.generate(tasks, config.sampling)
    rows: list[dict[str, Any]] = [
        {"task": t.id, "answer": e.completion, "revision": e.completion} for t, e in zip(tasks, drawn, strict=True)
    ]
    orders = [
        np.random.default_rng([config.sampling.seed, *t.id.encode()]).permutation(len(rubric.principles)) for t in tasks
    ]
    for turn in range(config.revisions):
        principles = [rubric.principles[order[turn % len(order)]] for order in orders]
        asked = [
            Message(
                "user",
                CRITICISE.format(
                    introduction=f"{rubric.introduction}\n\n" if rubric.introduction else "",
                    request="\n\n".join(f"{m.role}: {m.content}" for m in task.messages),
                    answer=row["revision"],
                    principle=principle.text,
                ),
            )
            for task, row, principle in zip(tasks, rows, principles, strict=True)
        ]
        sampling = replace(config.sampling, seed=config.sampling.seed + 1 + turn)
        critique_tasks = [Task(f"criticise {t.id}", (m,)) for t, m in zip(tasks, asked, strict=True)]
        critiques = [episode.completion for episode in engine.generate(critique_tasks, sampling)]
        again = [
            Task(f"revise {t.id}", (m, Message("assistant", critique), Message("user", REWRITE)))
            for t, m, critique in zip(tasks, asked, critiques, strict=True)
        ]
        for row, principle, critique, episode in zip(
            rows, principles, critiques, engine.generate(again, sampling), strict=True
        ):
            row["revision"] = episode.completion
            row.setdefault("critiques", []).append({"principle": principle.name, "critique": critique})
    return rows


def _graded(engine: Engine, rows: Sequence[Any], rubric: Rubric, tasks: dict[str, Task]) -> list[list[float]]:
    """[first answer, revision] of each row: the value of the rubric's reward."""
    said = [(tasks[row["task"]], text) for row in rows for text in (row["answer"], row["revision"])]
    episodes = [
        Episode.written(f"{task.id}, {i}", task, (*task.messages, Message("assistant", text)), "reviser")
        for i, (task, text) in enumerate(said)
    ]
    values = RubricReward(engine, rubric).score(episodes).value
    return values.reshape(-1, 2).tolist()


def _row(row: dict[str, Any], task: Task) -> dict[str, Any]:
    reply = lambda text: [Message("assistant", text).to_dict()]  # noqa: E731
    prompt = [message.to_dict() for message in task.messages]
    critiques = "\n".join(f"{c['principle']}: {c['critique']}" for c in row["critiques"])
    return {"prompt": prompt, "chosen": reply(row["revision"]), "rejected": reply(row["answer"]), "comment": critiques}


def _demonstration(row: dict[str, Any], task: Task) -> dict[str, Any]:
    reply = [Message("assistant", row["revision"]).to_dict()]
    return {"prompt": [message.to_dict() for message in task.messages], "completion": reply}
