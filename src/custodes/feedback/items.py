"""What a project asks about: tasks from its file, and the items that are made of them.

An item is what one screen shows: two answers of a task for a comparison, several for a ranking, one for ratings and
labels, none for demonstrations.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from custodes.dialogue import as_completion, as_prompt, text_or_messages
from custodes.feedback.project import Project
from custodes.feedback.questions import LETTERS, describe
from custodes.tables import TableRow, read_rows
from custodes.types import Episode, InputError, Judgment, Message, Task

Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class FailingTest:
    """Evidence that people can run again: a ``test`` that fails on the module ``code``, which it imports by the name ``module``."""

    module: str
    code: str
    test: str


@dataclass(frozen=True, eq=False)
class Assistance:
    """Help with an item: who gives it, its text, what it says is right, and tests that are shown with it.

    ``says`` has the form of an item's ``gold``; empty where the help proposes nothing.
    """

    by: str
    text: str
    says: Mapping[str, Any] = field(default_factory=dict)
    tests: tuple[FailingTest, ...] = ()


@dataclass(frozen=True, eq=False)
class Item:
    """One screen: a task and the answers that are shown. ``gold`` is the known answer, which no screen gets."""

    id: str
    task: Task
    episodes: tuple[Episode, ...]
    gold: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    """Expertise that an annotator must have to get this item."""
    reference: str = ""
    """What annotators are told besides the prompt, and no model ever is: the description of an inserted bug."""
    assistance: Assistance | None = None

    def told(self, order: Sequence[int], helped: bool) -> tuple[str, str]:
        """(reference, help or "") as they stand beside the answers, which are shown in ``order``.

        Answers stand in a drawn order, so that a text cannot call one of them the first: where it says "{answer 1}", people
        read "Answer B" if that is where it stands.
        """
        help_ = self.assistance.text if helped and self.assistance is not None else ""
        return _with_letters(self.reference, order), _with_letters(help_, order)


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Test(_Part):
    module: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    code: Annotated[str, Field(min_length=1, max_length=200_000)]
    test: Annotated[str, Field(min_length=1, max_length=20_000)]


class _Help(_Part):
    by: Annotated[str, Field(min_length=1)]
    text: Annotated[str, Field(min_length=1)]
    says: dict[str, Any] = {}
    tests: Annotated[list[_Test], Field(max_length=20)] = []


class _Bug(_Part):
    lines: Annotated[list[int], Field(min_length=1)]
    description: Annotated[str, Field(min_length=1)]
    original: str = ""
    operator: str = ""


class _Columns(_Part):
    prompt: Annotated[Any, BeforeValidator(text_or_messages)]
    answers: list[Annotated[Any, BeforeValidator(text_or_messages)]] = []
    id: str | None = None
    gold: dict[str, Any] = {}
    tags: list[str] = []
    models: list[str] = []
    reference: str = ""
    assistance: _Help | None = None
    bugs: list[_Bug] = []


def read_items(project: Project, path: str | Path) -> list[Item]:
    """The items of the tasks in a file (.jsonl, .jsonl.gz, .json, .parquet).

    Columns: ``prompt`` (text or messages) and ``answers`` (a list of them). Others may be left out:

    - ``id``, ``tags``, and ``models``: which model gave each answer, recorded and never shown;
    - ``gold``: {"better": n} for the n-th answer (from 1), {"labels": {name: value}}, {"ratings": {axis: [low, high]}};
    - ``reference``: what annotators are told besides the prompt;
    - ``assistance``: {"by", "text", "says", "tests"} with ``says`` like ``gold``; these texts name the n-th answer as
      "{answer n}"; ``tests`` are rows {"module", "code", "test"}, which people can run again;
    - ``bugs`` of the code in the prompt, recorded for whoever grades critiques and never shown:
      [{"lines", "description", "original", "operator"}].

    Raises InputError naming file, row and field.
    """
    return _distinct(project, read_rows(path))


def items_from_rows(project: Project, rows: Iterable[Mapping[str, Any]]) -> list[Item]:
    """The same from rows that came another way. Raises InputError naming row and field."""
    return _distinct(project, [TableRow(Path("tasks"), n, dict(values)) for n, values in enumerate(rows, 1)])


def follows(item: Item, judgment: Judgment) -> bool | None:
    """Whether a judgment is what the item's assistance says; None where it says nothing about this question."""
    says = item.assistance.says if item.assistance else {}
    return gold_result(replace(item, gold=says), judgment) if says else None


def gold_result(item: Item, judgment: Judgment) -> bool | None:
    """Whether a judgment of a gold item is right; None where nothing is known about this question."""
    known = judgment.known(item.gold)
    return None if known is None else judgment.is_right(known)


def _distinct(project: Project, rows: Iterable[TableRow]) -> list[Item]:
    items: dict[str, Item] = {}
    for row in rows:
        for item in _items(project, row):
            if item.id in items:
                raise InputError(f"{row.place}: the same task and answers stand in an earlier row; keep one.")
            items[item.id] = item
    return list(items.values())


def _items(project: Project, row: TableRow) -> list[Item]:
    try:
        found = _Columns.model_validate(row.values)
    except ValidationError as error:
        raise InputError(f"{row.place}, {describe(error.errors(include_url=False)[0])}.") from None
    sides = [question.sides for question in project.questions if question.sides]
    shown = sides[0] if sides else max(question.shows for question in project.questions)
    if not found.answers and all(question.bare for question in project.questions):
        shown = 0  # a critique of this task begins from nothing, say
    if len(found.answers) < shown:
        raise InputError(f"{row.place}, field 'answers': {len(found.answers)} answers; the project shows {shown}.")
    if found.models and len(found.models) != len(found.answers):
        raise InputError(f"{row.place}, field 'models': {len(found.models)} for {len(found.answers)} answers.")
    if project.assisted and found.assistance is None:
        raise InputError(f"{row.place}, field 'assistance': it is missing; the project is assisted.")
    prompt = as_prompt(found.prompt)
    known = {"gold": found.gold, "reference": found.reference, "bugs": [bug.model_dump() for bug in found.bugs]}
    metadata = {name: value for name, value in known.items() if value}
    task = Task(found.id or f"task-{_hash(prompt)}", prompt, metadata=metadata)
    texts = [task.messages + as_completion(answer) for answer in found.answers]
    models = found.models or ["imported"] * len(texts)
    named = [(f"episode-{_hash(text, task.id)}", text, model) for text, model in zip(texts, models, strict=True)]
    episodes = [Episode.written(id_, task, text, model) for id_, text, model in named]
    gold = _gold(found.gold, episodes, row, "gold")
    told = found.assistance
    assistance = None
    if told:
        tests = tuple(FailingTest(one.module, one.code, one.test) for one in told.tests)
        assistance = Assistance(told.by, told.text, _gold(told.says, episodes, row, "assistance.says"), tests)
    for column, text in (("reference", found.reference), ("assistance.text", told.text if told else "")):
        if wrong := next((n for n in _named(text) if not 1 <= n <= len(episodes)), None):
            raise InputError(f"{row.place}, field {column!r}: '{{answer {wrong}}}'; there are {len(episodes)} answers.")
    items = []
    for chosen in combinations(range(len(episodes)), shown):
        some = tuple(episodes[n] for n in chosen)
        help_ = replace(assistance, text=_renumbered(assistance.text, chosen)) if assistance else None
        id_ = f"item-{_hash(prompt, task.id, *(e.id for e in some))}"
        items.append(Item(id_, task, some, gold, tuple(found.tags), _renumbered(found.reference, chosen), help_))
    if "better" in gold and len(items) > 1:
        return [item for item in items if any(e.id == gold["better"] for e in item.episodes)]
    return items


_ANSWER = re.compile(r"\{answer (\d+)\}")


def _named(text: str) -> list[int]:
    """Numbers of the answers that a text names, from 1."""
    return [int(n) for n in _ANSWER.findall(text)]


def _renumbered(text: str, chosen: Sequence[int]) -> str:
    """A text about a task's answers, of an item that shows the ``chosen`` of them."""
    places = {number + 1: f"{{answer {place}}}" for place, number in enumerate(chosen, 1)}
    return _ANSWER.sub(lambda found: places.get(int(found[1]), "an answer that is not shown here"), text)


def _with_letters(text: str, order: Sequence[int]) -> str:
    """A text with "Answer B" for its "{answer 1}", where the first answer is shown at the second place."""
    names = {n + 1: f"Answer {LETTERS[place]}" if len(order) > 1 else "Answer" for place, n in enumerate(order)}
    return _ANSWER.sub(lambda found: names.get(int(found[1]), found[0]), text)


def _gold(gold: Mapping[str, Any], episodes: list[Episode], row: TableRow, column: str) -> dict[str, Any]:
    """What a column says is right, with the better episode's id instead of its place."""
    unknown = gold.keys() - {"better", "labels", "ratings"}
    if unknown:
        raise InputError(f"{row.place}, field {column!r}: {sorted(unknown)[0]!r}; give better, labels or ratings.")
    found = dict(gold)
    if "better" in gold:
        place = gold["better"]
        if not isinstance(place, int) or not 1 <= place <= len(episodes):
            raise InputError(
                f"{row.place}, field {column!r}: better is {place!r}; give the answer's place, 1 to {len(episodes)}."
            )
        found["better"] = episodes[place - 1].id
    for axis, span in gold.get("ratings", {}).items():
        if not (isinstance(span, list) and len(span) == 2 and all(isinstance(v, int) for v in span)):
            raise InputError(f"{row.place}, field {column!r}: the rating of {axis!r} is {span!r}; give [low, high].")
    return found


def _hash(messages: Messages, *more: str) -> str:
    digest = hashlib.sha256()
    for part in (*(f"{m.role}\0{m.content}" for m in messages), *more):
        digest.update(f"{len(part)}\0{part}\0".encode())
    return digest.hexdigest()[:24]
