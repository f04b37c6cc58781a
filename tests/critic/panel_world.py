"""Questions whose bugs are known, and critics whose quality is."""

from __future__ import annotations

from custodes.critic.examples import Bug
from custodes.critic.policies import ReviewQuestion
from custodes.critic.rating import Rated, critique_of, rate_critique
from custodes.critic.review.question import task_of
from custodes.critic.review.snippets import Snippet
from custodes.feedback.critique import Critique, Finding, parse_critique


def questions(count: int) -> list[ReviewQuestion]:
    """Every fourth is clean."""
    made = []
    for i in range(count):
        code = f"def f(x):\n    a = x - {i}\n    b = a + 1\n    return b"
        bug = Bug("sign", (2,), "The sign is wrong: `-` instead of `+`.", f"    a = x + {i}")
        made.append(ReviewQuestion(task_of(Snippet("", 1, code, "f")), code, () if i % 4 == 0 else (bug,)))
    return made


ASKED = questions(40)


def right(q: ReviewQuestion) -> Rated:
    findings = tuple(Finding(q.code.split("\n")[1], b.description) for b in q.bugs)
    return rate_critique(Critique(findings), q.code, q.bugs)


def noisy(q: ReviewQuestion) -> Rated:
    """The bug, and something made up."""
    return rate_critique(
        Critique((*critique_of(right(q)).findings, Finding("    return b", "Crashes."))), q.code, q.bugs
    )


def silent(q: ReviewQuestion) -> Rated:
    return rate_critique(parse_critique("No problems found."), q.code, q.bugs)
