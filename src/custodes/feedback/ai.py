"""AI annotators: a language model compares answers by a rubric, principle by principle, in both orders.

Every principle is a question of its own, asked twice: once with the one answer first and once with the other. Models, like
people, lean towards a place. Both are kept as comparisons on the principle's axis, with the order in which the answers were
shown, so the annotator model can take the bias out. The overall judgment of each order is the weighted mean of the
principles' scores. Before an AI annotator is mixed in with people, :func:`agreement_with_people` says how far
it agrees with them, beside how far they agree with each other.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from custodes.feedback.agreement import answers_of
from custodes.feedback.kinds.comparison import Comparison, Verdict
from custodes.feedback.rubric import Principle, Rubric
from custodes.job.parts import Parts
from custodes.stats import Interval, mean_interval, rate
from custodes.types import Annotator, Engine, Episode, InputError, Judgment, Message, Sampling, Task, hash_shown

COMPARE = "You compare two answers to the same request."
"""What a judge is told first, where the rubric has no introduction."""

SCALE = """\
Answer with one number and nothing else:
3 if the first answer is much better, 2 if it is better, 1 if it is slightly better, 0 if they are equal,
-1 if the second answer is slightly better, -2 if it is better, -3 if it is much better."""

CHUNK = 128
"""Questions between two writes: what an interruption costs at most."""
_NUMBER = re.compile(r"[+\-\u2212]?\d+")


@dataclass(frozen=True, eq=False)
class AIJudgments:
    """What an AI annotator said of P pairs."""

    annotator: Annotator
    judgments: list[Comparison]
    unread: int
    """Replies that held no score: "cannot judge"."""
    position_bias: Interval
    """Mean score in favour of whatever is shown first, -3..3, over principles and pairs; 0 is none."""
    consistent: Interval
    """How often the two orders agree on the better answer (ties agree with ties)."""


@dataclass(frozen=True)
class PeopleAgreement:
    """An AI annotator beside people, on the pairs that both judged."""

    with_people: Interval
    """How often it prefers what one person prefers (a tie is half); pairs weigh the same."""
    among_people: Interval
    """How often one person prefers what another prefers, on pairs that several judged."""
    pairs: int


def judge_with_ai(
    engine: Engine,
    pairs: Sequence[tuple[Episode, Episode]],
    rubric: Rubric,
    name: str,
    sampling: Sampling | None = None,
    parts: Parts | None = None,
) -> AIJudgments:
    """Asks ``engine`` about every pair, principle and order. Raises InputError for a pair of two tasks.

    By default the engine answers deterministically (temperature 0) in at most 16 tokens. A reply without a score from -3
    to 3 becomes "cannot judge", never a guess. With ``parts`` replies are kept as they come, and kept ones are not asked
    for again.
    """
    for one, other in pairs:
        if one.task.id != other.task.id:
            raise InputError(f"episodes {one.id} and {other.id} are of different tasks; a pair has one.")
    asked = [(p, order, principle) for p in range(len(pairs)) for order in (0, 1) for principle in rubric.principles]
    tasks = [_question(pairs[p], order, principle, rubric) for p, order, principle in asked]

    def ask(some: Sequence[Task]) -> list[tuple[str, str]]:  # (reply, who gave it)
        replies = engine.generate(some, sampling or Sampling(temperature=0.0, max_tokens=16)) if some else []
        if len(replies) != len(some):
            raise InputError(f"the judge gave {len(replies)} replies to {len(some)} questions; ask for one each.")
        return [(reply.completion, reply.policy) for reply in replies]

    replies = parts.answers({task.id: task for task in tasks}, ask, "judging", CHUNK) if parts else ask(tasks)
    scores = [read_score(reply) for reply, _ in replies]
    about = {"rubric": rubric.name, "version": rubric.version, "judge": replies[0][1] if replies else name}
    annotator = Annotator(name, "ai", about)
    judgments: list[Comparison] = []
    for start in range(0, len(asked), len(rubric.principles)):
        p, order, _ = asked[start]
        own = scores[start : start + len(rubric.principles)]
        judgments += _judgments(pairs[p], order, rubric, own, annotator)
    by = np.array([np.nan if s is None else s for s in scores], float).reshape(len(pairs), 2, -1)  # (P, 2, principles)
    pair = np.broadcast_to(
        np.arange(len(pairs))[:, None], by[:, 0].shape
    )  # the principles of a pair are not independent
    known = ~np.isnan(by).any(axis=1)
    leaning = by.mean(axis=1)  # a score and, the other way round, its opposite cancel
    same = np.sign(by[:, 0]) == -np.sign(by[:, 1])
    return AIJudgments(
        annotator,
        judgments,
        unread=sum(score is None for score in scores),
        position_bias=mean_interval(leaning[known], pair[known].tolist()),
        consistent=rate(same[known], pair[known].tolist()),
    )


def read_score(text: str, lowest: int = -3, highest: int = 3) -> int | None:
    """The score that a reply holds; None where it holds none, or several that differ."""
    found = {int(number.replace("\u2212", "-")) for number in _NUMBER.findall(text)}
    return found.pop() if len(found) == 1 and lowest <= min(found) <= highest else None


def agreement_with_people(ai: Iterable[Judgment], people: Iterable[Judgment], axis: str = "overall") -> PeopleAgreement:
    """How far an AI annotator agrees with people, beside how far they agree with each other.

    The AI's two orders of a pair are averaged first. Intervals are cluster-robust by pair. Raises InputError where no
    pair was judged by both.
    """
    machine = {pair: float(np.sign(np.mean(signs))) for pair, signs in _signs(ai, axis).items()}
    persons = _signs(people, axis)
    shared = [pair for pair in machine if pair in persons]
    if not shared:
        raise InputError("the AI annotator and the people have no pair in common, so their agreement is not known.")
    same = lambda one, other: 0.5 * (1 + one * other)  # noqa: E731 (opposite preferences 0, a tie half)
    with_people = [float(np.mean([same(machine[pair], sign) for sign in persons[pair]])) for pair in shared]
    among = [(same(*two), pair) for pair, signs in persons.items() for two in combinations(signs, 2)]
    return PeopleAgreement(rate(with_people), rate([s for s, _ in among], [p for _, p in among]), len(shared))


def _question(pair: tuple[Episode, Episode], order: int, principle: Principle, rubric: Rubric) -> Task:
    first, second = pair if order == 0 else pair[::-1]
    request = "\n\n".join(f"{m.role}: {m.content}" for m in first.task.messages)
    text = (
        f"{rubric.introduction or COMPARE}\n\n# Request\n{request}\n\n# First answer\n{first.completion}\n\n"
        f"# Second answer\n{second.completion}\n\n# Question\n{principle.text}\n{SCALE}"
    )
    id_ = hashlib.sha256(
        f"{first.id}\0{second.id}\0{rubric.name}\0{rubric.version}\0{principle.name}".encode()
    ).hexdigest()
    return Task(f"judge-{id_[:24]}", (Message("user", text),))


def _judgments(
    pair: tuple[Episode, Episode], order: int, rubric: Rubric, scores: Sequence[int | None], annotator: Annotator
) -> list[Comparison]:
    """A comparison per principle, and the overall one, of one order."""
    first, second = pair if order == 0 else pair[::-1]
    known = [(s, p.weight) for s, p in zip(scores, rubric.principles, strict=True) if s is not None]
    overall = None
    if len(known) == len(scores):
        mean = sum(s * weight for s, weight in known) / sum(abs(weight) for _, weight in known)
        overall = int(np.sign(mean)) * max(1, round(abs(mean))) if abs(mean) > 1e-9 else 0
    base = Comparison(
        id="",
        annotator=annotator.id,
        task=first.task.id,
        episodes=(first.id, second.id),
        shown=hash_shown(*(m.content for m in first.task.messages), first.completion, second.completion),
        guideline=f"{rubric.name} {rubric.version}",
        verdict="cannot_judge",
    )
    judgments = []
    for axis, score in [*((p.name, s) for p, s in zip(rubric.principles, scores, strict=True)), ("overall", overall)]:
        key = "\0".join((base.annotator, *base.episodes, base.guideline, axis))
        verdict: Verdict = "cannot_judge" if score is None else "prefer" if score else "tie"
        id_ = f"ai-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        judgments.append(replace(base, id=id_, axis=axis, verdict=verdict, strength=score or 0))
    return judgments


def _signs(judgments: Iterable[Judgment], axis: str) -> dict[tuple[str, str], list[float]]:
    """Pair in the order of its ids -> 1 for the first, -1 for the second, 0 for a tie, by each judgment."""
    signs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pair, _, strength in answers_of(judgments, axis):
        signs[pair].append(float(np.sign(strength)))
    return signs
