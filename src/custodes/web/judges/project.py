"""People on the annotation server: pairs are added to an open project, and its judgments of them are what is said."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from custodes.feedback.items import Item
from custodes.feedback.kinds.comparison import Comparison
from custodes.loop.round_judges import PairAnswers, Waiting
from custodes.loop.round_pairs import Pair
from custodes.registry import judge
from custodes.types import InputError
from custodes.web.database import DATABASE, ServerDatabase
from custodes.web.export import read_project
from custodes.web.projects import add_items, open_project


@judge
class ProjectJudge:
    """The members of a project, as many of them for each pair as the project says.

    Which model gave an answer is recorded and never shown. A pair that is in the project already is not asked again.
    """

    def __init__(self, project: str, db: str = "") -> None:
        """Raises InputError for a project that is not there, and for one that does not compare two answers."""
        self.project, self.db, self.name = project, db or DATABASE, f"project:{project}"
        with ServerDatabase(self.db) as database, database.reading() as connection:
            asked, _, _ = open_project(connection, project)
        if not any(question.judgment is Comparison for question in asked.questions):
            raise InputError(
                f"the project {project!r} asks for no comparison of two answers; add a question of that kind."
            )
        if asked.assisted:
            raise InputError(
                f"the project {project!r} is assisted, and pairs of a policy's replies bring no help; take another."
            )
        self.overlap = asked.assignment.overlap

    def ask(self, purpose: str, pairs: Sequence[Pair]) -> PairAnswers | Waiting:
        items = {_item_id(pair): pair for pair in pairs}
        with ServerDatabase(self.db) as database:
            contents = [Item(id, pair[0].task, pair) for id, pair in items.items()]
            add_items(database, self.project, contents, purpose)
            content = read_project(database, self.project)
        wanted = {frozenset((a.id, b.id)) for a, b in pairs}
        judgments = [
            judgment
            for judgment in content.judgments
            if isinstance(judgment, Comparison) and frozenset(judgment.episodes) in wanted
        ]
        axis = judgments[0].axis if judgments else ""
        judgments = [judgment for judgment in judgments if judgment.axis == axis]
        people = {pair: {j.annotator for j in judgments if frozenset(j.episodes) == pair} for pair in wanted}
        answered = sum(min(len(of), self.overlap) for of in people.values())
        if answered < len(wanted) * self.overlap:
            return Waiting(f"project {self.project} in {self.db}", answered, len(wanted) * self.overlap)
        who = {judgment.annotator for judgment in judgments}
        return PairAnswers(judgments, [one for one in content.annotators if one.id in who])


def _item_id(pair: Pair) -> str:
    key = "\0".join(episode.id for episode in pair)
    return f"pair-{hashlib.sha256(key.encode()).hexdigest()[:24]}"
