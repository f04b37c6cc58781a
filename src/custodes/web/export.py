"""From the database to files: a project's judgments as the rest of the field reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.collection import Feedback
from custodes.feedback.exchange import pairs_from_corrections, pairs_from_judgments
from custodes.feedback.formats import write_preferences
from custodes.feedback.items import Item, gold_result
from custodes.feedback.platform import platform_records
from custodes.feedback.records import judgment_row, write_judgments
from custodes.files import save_text
from custodes.ledger.redacting import withdrawn_rows
from custodes.registry import platform
from custodes.tables import write_rows
from custodes.types import Annotator, Episode, InputError, Judgment, Task
from custodes.web.database import ServerDatabase
from custodes.web.projects import load_items, open_project, quarantined
from custodes.web.schema import assignments
from custodes.web.second_looks import final

JudgedWith = Literal["all", "alone", "helped"]
"""Which judgments: whether help was shown."""
EXPORT_FORMS = ("trl", "huggingface", *platform.names())


@dataclass(frozen=True, eq=False)
class ProjectContent:
    """What a project holds, from the ledger and the database."""

    judgments: list[Judgment]
    tasks: dict[str, Task]
    episodes: dict[str, Episode]
    annotators: list[Annotator]
    items_by_task: dict[str, Item]
    quarantined: set[str]


def read_project(
    database: ServerDatabase,
    name: str,
    with_gold: bool = False,
    with_quarantined: bool = False,
    with_alone: bool = False,
) -> ProjectContent:
    """Judgments as they stand now, those of gold and repeated items only ``with_gold``. Raises MissingError.

    Of what was judged alone and again with help, the judgment with help counts; ``with_alone`` gives both.
    """
    with database.reading() as connection:
        _, run, _ = open_project(connection, name)
        items = load_items(connection, name)
        out = quarantined(connection, name)
        mine = (assignments.c.project == name, assignments.c.purpose != "normal")
        special = set(connection.scalars(select(assignments.c.id).where(*mine)))
    gone = {row.key for row in withdrawn_rows(database.ledger, run) if row.kind == "episode" and not row.readable}
    judgments = [
        j
        for j in database.ledger.judgments(run)
        if not gone.intersection(j.episodes)
        and (with_quarantined or j.annotator not in out)
        and (with_gold or j.id.split("-")[0] not in special)
    ]
    if not with_alone:
        judgments = final(judgments)
    people = {j.annotator for j in judgments}
    return ProjectContent(
        judgments,
        {t.id: t for t in database.ledger.tasks(run)},
        {e.id: e for e in database.ledger.episodes(run)},
        [a for a in database.ledger.annotators(database.run) if a.id in people],
        {item.task.id: item for item in items},
        out,
    )


def by_annotator(judgments: Iterable[Judgment]) -> dict[str, list[Judgment]]:
    """Each person's judgments."""
    by_person: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        by_person[judgment.annotator].append(judgment)
    return by_person


def gold_results(items_by_task: Mapping[str, Item], judgments: Iterable[Judgment]) -> list[tuple[str, bool]]:
    """(task, whether it is right) of every judgment to which gold says something."""
    results = [(j.task, gold_result(items_by_task[j.task], j)) for j in judgments if j.task in items_by_task]
    return [(task, right) for task, right in results if right is not None]


def judgments_of_project(database: ServerDatabase, name: str) -> list[dict[str, Any]]:
    """Rows as :func:`~custodes.feedback.write_judgments` writes them."""
    return [judgment_row(j) for j in read_project(database, name, True, True, True).judgments]


def export_project(
    database: ServerDatabase,
    name: str,
    folder: Path,
    form: str = "trl",
    by: str = "command line",
    judged: JudgedWith = "all",
) -> list[Path]:
    """Writes a project into ``folder``; the files.

    "trl" is three files: judgments.jsonl (all of them), preferences.jsonl (a row per judgment, with its annotator) and
    aggregated.jsonl (a row per pair, with a soft label and a weight from the annotator model). Edited answers are in the
    latter two. "huggingface" is the same preferences in parquet, with a card. "argilla" and "label-studio" are records
    with everybody's answers. Annotators in quarantine are left out. ``judged`` takes what was judged without help, or with it:
    of what was judged twice, the first or the second.

    Raises MissingError for an unknown project, InputError for an unknown form or nothing to export.
    """
    if form not in EXPORT_FORMS:
        raise InputError(f"form {form!r} is unknown; choose from {', '.join(EXPORT_FORMS)}.")
    content = read_project(database, name, with_alone=judged == "alone")
    if judged != "all":
        chosen = [j for j in content.judgments if bool(j.assistance) is (judged == "helped")]
        content = replace(content, judgments=chosen)
    if not content.judgments:
        raise InputError(f"the project {name!r} has no judgments{'' if judged == 'all' else f' made {judged}'} yet.")
    folder.mkdir(parents=True, exist_ok=True)
    database.log_access("export", by, f"{name} as {form}, {len(content.judgments):,} judgments")
    if form in platform:
        records = platform_records(form, content.judgments, content.episodes, content.tasks)
        return [write_rows(folder / platform.find(form).file, records)]
    texts = Feedback(content.tasks, content.episodes, annotators={a.id: a for a in content.annotators})
    written = [write_judgments(folder / "judgments.jsonl", content.judgments, texts)]
    episodes = list(content.episodes.values())
    edited = pairs_from_corrections(content.judgments, episodes)
    compared = any(j.comparisons() for j in content.judgments)
    if compared or edited:
        kind = "parquet" if form == "huggingface" else "jsonl"
        each = pairs_from_judgments(content.judgments, episodes) + edited
        model = fit_annotators(content.judgments, episodes) if compared else None
        together = (pairs_from_judgments(content.judgments, episodes, model) if model else []) + edited
        written.append(write_preferences(folder / f"preferences.{kind}", each))
        written.append(write_preferences(folder / f"aggregated.{kind}", together))
        if form == "huggingface":
            card = folder / "README.md"
            save_text(card, _CARD.format(name=name, each=len(each), together=len(together)))
            written.append(card)
    return written


_CARD = """\
---
configs:
  - config_name: preferences
    data_files: preferences.parquet
  - config_name: aggregated
    data_files: aggregated.parquet
---
# {name}

`preferences` has {each:,} rows, one per judgment, with the column `annotator`. `aggregated` has {together:,} rows, one per
pair: `label` is the probability that `chosen` is better given everybody's answers, reliabilities and biases, `weight`
how much of the uncertainty those answers removed.
"""
