"""Critiques of code whose bugs are known, by persons, critics and teams: which caught a bug, which comments are wrong.

In a project with ``critique`` questions a person writes from nothing (a demonstration) or from the critique of a critic
(its correction). Everything here is read from those records.
"""

from __future__ import annotations

from collections.abc import Iterable

from custodes.critic.examples import bugs_from
from custodes.critic.rating import rate_critique
from custodes.feedback.critique import parse_critique
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.teams import TeamReview
from custodes.registry import rater
from custodes.types import Episode, Judgment, Task


@rater
def known_bugs(tasks: Iterable[Task], episodes: Iterable[Episode], judgments: Iterable[Judgment]) -> list[TeamReview]:
    """Every critique of code with known bugs as a review for :func:`~custodes.feedback.teams.analyse`.

    A task's bugs are in its metadata ("bugs"), its code is the last code block of its last message. What a person wrote
    from nothing is of the arm "person", from a critic's critique "team", and the critic's own is "critic". The rules of
    ``rating.py`` say whether a bug was caught and which comments are wrong.
    """
    known = {task.id: (_code_of(task), bugs) for task in tasks if (bugs := bugs_from(task.metadata.get("bugs")))}
    written: list[tuple[str, str, str]] = []
    for judgment in judgments:
        if isinstance(judgment, Demonstration | Correction):
            arm = "person" if isinstance(judgment, Demonstration) else "team"
            written.append((judgment.task, arm, judgment.text))
    written += [(e.task.id, "critic", e.completion) for e in episodes if not e.policy.startswith("tamper by ")]
    reviews = []
    for task, arm, text in written:
        if task in known:
            code, bugs = known[task]
            rated = rate_critique(parse_critique(text), code, bugs)
            reviews.append(TeamReview(task, arm, rated.included > 0, rated.hallucinations))
    return reviews


def _code_of(task: Task) -> str:
    """The code that a task asks to review: the last code block of its last message; "" where there is none."""
    blocks = parse_critique(task.messages[-1].content).findings if task.messages else ()
    return blocks[-1].quote if blocks else ""
