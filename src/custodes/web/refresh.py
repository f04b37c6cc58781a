"""The annotator model of a project while it runs: what each item can still tell, how sure the result is, whose alarm rang.

The model is fitted again after every ``EVERY`` normal judgments of a project that asks for it: by active selection, by a
stopping rule on uncertainty, or by a webhook on alarms.
"""

from __future__ import annotations

import json

import numpy as np
from scipy.special import ndtr
from sqlalchemy import func, select

from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.poisoning import watch_annotators
from custodes.feedback.selection import QualityBelief
from custodes.web.database import ServerDatabase
from custodes.web.export import read_project
from custodes.web.projects import load_items, parsed_project, set_learned
from custodes.web.schema import about, assignments, projects
from custodes.web.webhooks import tell, wanted

EVERY = 25


def is_due(database: ServerDatabase, assignment: str) -> str | None:
    """The project of an assignment just handed in, where its model is to be fitted again now; else None."""
    with database.reading() as connection:
        of = select(projects.c.name, projects.c.text).join(assignments, assignments.c.project == projects.c.name)
        name, text = connection.execute(of.where(assignments.c.id == assignment)).one()
        project = parsed_project(text, name)
        asks = project.assignment.selection == "active" or project.stopping.uncertainty is not None
        if not asks and not wanted(connection, project.name, "alarm"):
            return None
        normal = (assignments.c.project == name, assignments.c.state == "done", assignments.c.purpose == "normal")
        count = connection.scalar(select(func.count()).where(*normal)) or 0
    return project.name if count and count % EVERY == 0 else None


def refresh(database: ServerDatabase, name: str) -> float | None:
    """Fits the annotator model and stores what it says; the uncertainty, or None where nothing was compared.

    Uncertainty is a mean over the items that compare two answers: the probability that the answer that looks better is
    the worse one, 1/2 where nothing is known. Raises MissingError for an unknown project.
    """
    content = read_project(database, name)
    if not any(j.comparisons() for j in content.judgments):
        return None
    with database.reading() as connection:
        alarmed = wanted(connection, name, "alarm")
        items = [item for item in load_items(connection, name) if len(item.episodes) == 2 and not item.gold]
    belief = QualityBelief.of(fit_annotators(content.judgments, content.episodes.values()))
    pairs = [(item.episodes[0].id, item.episodes[1].id) for item in items]
    mean, variance = belief.differences(pairs)
    uncertainty = float(ndtr(-np.abs(mean) / np.sqrt(variance)).mean()) if pairs else None
    information = zip((item.id for item in items), belief.information(pairs).tolist(), strict=True)
    set_learned(database, name, dict(information), uncertainty)
    if alarmed:
        _tell_alarms(database, name)
    return uncertainty


def _tell_alarms(database: ServerDatabase, name: str) -> list[str]:
    """Tells the project's webhooks which annotators' alarms have rung since they were last told; those annotators."""
    content = read_project(database, name, with_gold=True)
    gold = {task for task, item in content.items_by_task.items() if item.gold}
    model = fit_annotators(content.judgments, content.episodes.values())
    rings = watch_annotators(model, content.judgments, content.tasks.values(), gold).rings()
    key, new = f"alarms {name}", []
    with database.writing() as connection:
        earlier = json.loads(connection.scalar(select(about.c.value).where(about.c.key == key)) or "[]")
        for ring in rings:
            if ring.annotator not in earlier:
                new.append(ring.annotator)
                evidence = {"suspicion": ring.suspicion, "judgments": ring.judgments, "rang_at": ring.rang_at}
                tell(database, connection, name, "alarm", annotator=ring.annotator, **evidence)
        if new:
            connection.execute(about.delete().where(about.c.key == key))
            connection.execute(about.insert().values(key=key, value=json.dumps([*earlier, *new])))
    return new
