"""What people make of critiques, and how they and the critic compare, read from the records."""

from __future__ import annotations

import numpy as np

from custodes.critic.raters.known_bugs import _code_of, known_bugs
from custodes.feedback.critique import Critique, Finding, critique_changes, parse_critique, write_critique
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.teams import analyse
from custodes.types import Episode, Message, Task

A, B, C = Finding("x = 1", "Off by one."), Finding("y = 2", "Swapped."), Finding("z = 3", "Unused.")


def test_findings_are_kept_edited_removed_and_added():
    edited, added = Finding("y = 2", "The arguments are swapped."), Finding("w = 4", "Never read.")
    found = critique_changes(Critique((A, B, C)), Critique((A, edited, added)))
    assert (found.kept, found.edited, found.removed, found.added) == ((A,), ((B, edited),), (C,), (added,))
    assert found.counts() == {"kept": 1, "edited": 1, "removed": 1, "added": 1}
    moved = Finding("x = 1  # here", "Off by one.")
    assert critique_changes(Critique((A,)), Critique((moved,))).edited == ((A, moved),)
    assert critique_changes(Critique((A, A)), Critique((A,))).counts() == {
        "kept": 1,
        "edited": 0,
        "removed": 1,
        "added": 0,
    }
    assert critique_changes(Critique(), Critique()).counts() == {"kept": 0, "edited": 0, "removed": 0, "added": 0}


CODE = "def total(xs):\n    return sum(xs[1:])"
BUG = {"lines": [2], "description": "The first element is left out: the slice begins one late.", "original": "sum(xs)"}
RIGHT = write_critique(
    Critique((Finding("    return sum(xs[1:])", "The slice leaves out the first element, off by one."),))
)
WRONG = write_critique(Critique((Finding("def total(xs):", "This raises an error for empty input."),)))


def problem(n: int) -> tuple[Task, Episode]:
    task = Task(f"t{n}", (Message("user", f"Review it.\n\n```python\n{CODE}\n```"),), metadata={"bugs": [BUG]})
    nothing = np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)
    return task, Episode(f"e{n}", task, (*task.messages, Message("assistant", WRONG)), *nothing, "stop", "critic-1")


def test_records_of_people_flow_into_the_analysis_of_teams():
    problems = [problem(n) for n in range(8)]
    tasks, episodes = [t for t, _ in problems], [e for _, e in problems]
    assert _code_of(tasks[0]) == CODE
    judgments = []
    for n, (task, episode) in enumerate(problems):
        about = {"task": task.id, "annotator": "a"}
        alone = RIGHT if n == 0 else "Looks right."
        judgments.append(Demonstration(**about, id=f"d{n}", episodes=(), text=alone))
        judgments.append(Correction(**about, id=f"c{n}", episodes=(episode.id,), text=RIGHT, assistance="critic-1"))
    found = analyse(known_bugs(tasks, episodes, judgments))
    assert {arm: found.caught[arm].estimate for arm in found.caught} == {"person": 1 / 8, "critic": 0.0, "team": 1.0}
    assert found.false["critic"].estimate == 1.0
    assert found.beats_both
    assert parse_critique(RIGHT).findings


def test_tasks_without_known_bugs_and_tampered_code_are_no_reviews():
    task, episode = problem(0)
    unknown = Task("u", task.messages)
    assert known_bugs([unknown], [], [Demonstration(id="d", annotator="a", task="u", episodes=(), text=RIGHT)]) == []
    made = Episode(
        "x", task, episode.messages, episode.token_ids, episode.action_mask, episode.logprobs, "stop", "tamper by a"
    )
    assert known_bugs([task], [made], []) == []
