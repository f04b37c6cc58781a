"""What simulated people write, alone and starting from a critique: a policy like any other, rated by the same rules.

The person is that of :mod:`custodes.feedback.teams`, who sees a bug, keeps right comments, removes wrong ones and makes some
up, each with a stated probability. Simulated people know the bugs and are always called simulated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from custodes.critic.policies import Question
from custodes.critic.rating import Rated, rate
from custodes.feedback.critique import Critique, Finding
from custodes.feedback.teams import Person

MADE_UP = "This looks wrong to me and will fail."
"""A comment that describes no bug."""


def alone(person: Person, asked: Sequence[Question], seed: int = 0) -> list[Rated]:
    """What the person writes of each question from nothing."""
    return [
        rate(Critique(_own(person, q, np.random.default_rng([seed, i]), 1.0)), q.code, q.bugs)
        for i, q in enumerate(asked)
    ]


def team(person: Person, asked: Sequence[Question], critiques: Sequence[Rated], seed: int = 0) -> list[Rated]:
    """What the person makes of a critic's critique of each question.

    Kept are findings that point out a bug with probability ``keeps``, others with 1 - ``removes``; added is what the
    person sees by ``attention``, and would have seen alone: the luck is that of :func:`alone` with the same seed.
    """
    found = []
    for i, (q, critique) in enumerate(zip(asked, critiques, strict=True)):
        own = _own(person, q, np.random.default_rng([seed, i]), person.attention)
        draw = np.random.default_rng([seed, i, 1])
        kept = tuple(
            f.finding
            for f in critique.findings
            if draw.random() < (person.keeps if f.kind == "bug" else 1 - person.removes)
        )
        found.append(rate(Critique((*kept, *own)), q.code, q.bugs))
    return found


def _own(person: Person, q: Question, draw: np.random.Generator, attention: float) -> tuple[Finding, ...]:
    """The person's own findings; those seen with less attention are among those seen with more."""
    lines = q.code.split("\n")
    findings = []
    for bug in q.bugs:
        sees, looks = draw.random() < person.sees, draw.random() < attention
        if sees and looks:
            findings.append(Finding("\n".join(lines[min(bug.lines) - 1 : max(bug.lines)]), bug.description))
    right = {line for bug in q.bugs for line in bug.lines}
    others = [line for number, line in enumerate(lines, 1) if line.strip() and number not in right]
    wrong = min(int(draw.poisson(person.own_false)), len(others))
    chosen = [others[int(k)] for k in draw.permutation(len(others))[:wrong]]
    return (*findings, *(Finding(line, MADE_UP) for line in chosen if draw.random() < attention))
