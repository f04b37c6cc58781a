"""What the answers so far have taught about a project: what each item can still tell, and how sure the result is.

Both come from the annotator model, fitted again after every ``EVERY`` normal judgments of a project that asks for it: by
active selection, or by a stopping rule on uncertainty.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr
from sqlalchemy import func, select

from custodes.feedback import fit_annotators
from custodes.feedback.annotator_model import comparisons_in
from custodes.feedback.selection import QualityBelief
from custodes.web.database import Database
from custodes.web.export import read_project
from custodes.web.projects import load_items, parsed, set_learned
from custodes.web.schema import assignments, projects

EVERY = 25


def is_due(database: Database, assignment: str) -> str | None:
    """The project of an assignment just handed in, where its model is to be fitted again now; else None."""
    with database.reading() as connection:
        of = select(projects.c.name, projects.c.text).join(assignments, assignments.c.project == projects.c.name)
        name, text = connection.execute(of.where(assignments.c.id == assignment)).one()
        project = parsed(text, name)
        if project.assignment.selection != "active" and project.stopping.uncertainty is None:
            return None
        normal = (assignments.c.project == name, assignments.c.state == "done", assignments.c.purpose == "normal")
        count = connection.scalar(select(func.count()).where(*normal)) or 0
    return project.name if count and count % EVERY == 0 else None


def refresh(database: Database, name: str) -> float | None:
    """Fits the annotator model and stores what it says; the uncertainty, or None where nothing was compared.

    Uncertainty is the mean over the items that compare two answers of the probability that the one that looks better is
    the worse one: 1/2 where nothing is known. Raises MissingError for an unknown project.
    """
    content = read_project(database, name)
    if not any(comparisons_in(j) for j in content.judgments):
        return None
    with database.reading() as connection:
        items = [item for item in load_items(connection, name) if len(item.episodes) == 2 and not item.gold]
    belief = QualityBelief.of(fit_annotators(content.judgments, content.episodes.values()))
    pairs = [(item.episodes[0].id, item.episodes[1].id) for item in items]
    mean, variance = belief.differences(pairs)
    uncertainty = float(ndtr(-np.abs(mean) / np.sqrt(variance)).mean()) if pairs else None
    told = zip((item.id for item in items), belief.information(pairs).tolist(), strict=True)
    set_learned(database, name, dict(told), uncertainty)
    return uncertainty
