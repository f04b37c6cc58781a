"""A small loaded project of every kind, so that a newcomer sees all screens after one command.

The projects and their texts are ours, in ``demo_projects``. Simulated annotators, named so, have judged part of the first
one. One of them prefers the worse answer, so that the quality desk has something to show.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import update

from custodes.feedback.items import read_items
from custodes.feedback.project import load_project
from custodes.feedback.questions import Answer
from custodes.types import Annotator, AnnotatorKind, Message
from custodes.web import oversight, work
from custodes.web.accounts import ACCOUNT_ROLES, Account, AccountRole
from custodes.web.database import ServerDatabase
from custodes.web.projects import create_project
from custodes.web.schema import assignments

FOLDER = Path(__file__).parent / "demo_projects"
SIMULATED = {"simulated-careful": 0.95, "simulated-quick": 0.8, "simulated-guessing": 0.5, "simulated-spiteful": 0.1}
"""Who has judged already, and with which probability they prefer the better answer."""
FIRST = "helpful"
DAY = 86_400.0


def load_demo(database: ServerDatabase) -> tuple[str, list[str]]:
    """Fills an empty server with accounts, projects, judgments and actions that wait for approval.

    (password of an account for each role, which is named as the role; names of the projects).
    """
    password = f"demo-{secrets.token_hex(4)}"
    people = {role: _account(database, role, role, password) for role in ACCOUNT_ROLES}
    projects = []
    for file in sorted(FOLDER.glob("*.yaml")):
        project = load_project(file)
        items = read_items(project, file.parent / project.tasks)
        create_project(database, file.read_text(encoding="utf-8"), items, "demo")
        projects.append(project.name)
        if project.name == FIRST:
            better = {item.episodes[0].completion for item in items}
    for seed, (name, skill) in enumerate(SIMULATED.items()):
        _judge(database, _account(database, name, "annotator", secrets.token_hex(16)), skill, better, seed)
    _ask_for_approval(database, people["annotator"])
    return password, projects


def _account(database: ServerDatabase, name: str, role: AccountRole, password: str) -> Account:
    account = database.accounts.create(name, password, role)
    kind: AnnotatorKind = "simulated" if name in SIMULATED else "human"
    database.ledger.write(database.run, [Annotator(account.id, kind)])
    return account


def _judge(database: ServerDatabase, account: Account, skill: float, better: set[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    while (item := work.claim(database, FIRST, account)[0]) is not None:
        left = item["answers"][0][-1]["content"] in better
        right = rng.random() < skill
        strength = int(rng.integers(1, 4)) * (1 if left == right else -1)
        answers: list[dict[str, Any]] = [{"question": 1, "verdict": "prefer", "strength": strength}]
        for place in range(2):
            good = (place == 0) == left
            value = int(np.clip(rng.normal(5.5 if good == right else 3, 1), 1, 7))
            answers.append({"question": 2, "place": place, "value": value})
        seconds = float(rng.gamma(4, 5))
        id_, began = item["assignment"], database.clock() - seconds  # nobody works longer than the server's clock says
        with database.writing() as connection:
            connection.execute(update(assignments).where(assignments.c.id == id_).values(given=began))
        work.hand_in(database, id_, account, [Answer.model_validate(answer) for answer in answers], seconds)


def _ask_for_approval(database: ServerDatabase, account: Account) -> None:
    """Actions in the oversight queue, as a policy's process would propose them; no process waits for the answers."""
    for request, action, reason, harmful in (
        ("Tidy up last year's reports.", "mv reports/2025-*.pdf archive/", "They are from last year.", False),
        ("Free some space on the disk.", "rm -rf /var/lib/postgresql", "It is the largest folder.", True),
        ("Make the tests pass.", "sed -i 's/assert total == 12/assert total == total/' tests/test_sum.py", "", True),
    ):
        context = [Message("user", request)]
        oversight.propose(database, account, "demo-policy", context, action, reason, DAY, "block", harmful)
