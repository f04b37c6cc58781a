"""Questions whose bugs are known, and critics whose quality is."""

from __future__ import annotations

from custodes.critic.policies import Question
from custodes.critic.rating import Rated, critique_of, rate
from custodes.critic.review.question import task_of
from custodes.critic.review.snippets import Snippet
from custodes.critic.tamper.bugs import Bug
from custodes.feedback.critique import Critique, Finding, parse_critique


def questions(count: int) -> list[Question]:
    """Every fourth is clean."""
    made = []
    for i in range(count):
        code = f"def f(x):\n    a = x - {i}\n    b = a + 1\n    return b"
        bug = Bug("sign", (2,), "The sign is wrong: `-` instead of `+`.", f"    a = x + {i}")
        made.append(Question(task_of(Snippet("", 1, code, "f")), code, () if i % 4 == 0 else (bug,)))
    return made


ASKED = questions(40)


def right(q: Question) -> Rated:
    findings = tuple(Finding(q.code.split("\n")[1], b.description) for b in q.bugs)
    return rate(Critique(findings), q.code, q.bugs)


def noisy(q: Question) -> Rated:
    """The bug, and something made up."""
    return rate(Critique((*critique_of(right(q)).findings, Finding("    return b", "Crashes."))), q.code, q.bugs)


def silent(q: Question) -> Rated:
    return rate(parse_critique("No problems found."), q.code, q.bugs)
