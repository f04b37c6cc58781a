"""What every kind of judgment is made of: a question in a project, what is entered on a screen, and answers.

A kind is one file: the dataclass of its judgments, and a class derived from :class:`Question`, marked with
:data:`custodes.registry.kind`. Ours are in :mod:`custodes.feedback.kinds`. How a kind looks on a screen is a second file,
see :mod:`custodes.web.screens.question_widget`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails

from custodes import registry
from custodes.types import Episode, InputError, Judgment, judgment_type, located

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Proportion = Annotated[float, Field(ge=0, le=1)]
REASONS = "reasons"
MOST = 200
"""Entries of a list that a person enters."""
LONGEST = 100_000
"""Characters of a text that a person enters."""
LONGEST_SCALE = 1_000
"""How far the ends of an axis's scale are apart at most."""
LETTERS = "ABCD"
"""What the answers on a screen are called."""


class Part(BaseModel):
    """A part of a project's file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Category(Part):
    """A value that a label or a span can have."""

    value: Name
    title: str


class Answer(BaseModel):
    """An answer to one question. Its other fields are those that the question's kind takes."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    question: Annotated[int, Field(ge=1)]
    """Number of the project's question, from 1."""
    place: Annotated[int, Field(ge=0, le=3)] | None = None
    """Of an answer on the screen, from 0 at the left."""


class Question(Part):
    """One kind of judgment that is asked of every item. Its fields are the question's in a project's file."""

    kind: Name
    answers: Annotated[int, Field(ge=1, le=4)] | None = None
    """How many answers are shown side by side; where it does not say, any number, for comparisons and rankings 2."""
    optional: bool = False

    judgment: ClassVar[type[Judgment]]
    """What an answer becomes."""
    takes: ClassVar[tuple[str, ...]] = ("text",)
    """Fields that an answer must have; they are fields of the judgment, or :meth:`own_fields` makes such of them."""
    may_take: ClassVar[tuple[str, ...]] = ()
    """Fields that an answer may have besides."""
    about: ClassVar[Literal["one", "all", "none"]] = "one"
    """Which of the answers on the screen an answer is about; "one" is named by its ``place``."""
    shows: ClassVar[int] = 1
    """Answers that must be on the screen, where the project does not say how many."""
    bare: ClassVar[bool] = False
    """Whether a task without answers can be asked about."""
    repeats: ClassVar[bool] = False
    """Whether there may be several answers about the same place."""
    of_each: ClassVar[bool] = False
    """Whether every answer on the screen must be judged."""
    twice: ClassVar[bool] = False
    """Whether it can be judged again with help."""
    by_itself: ClassVar[bool] = False
    """Whether a project that asks it shows one answer, and asks everything once."""
    missing: ClassVar[str] = "there is a question without an answer."
    """Said to a person who has not answered it."""
    row: ClassVar[str] = ""
    """Where that person is led: what the name of the first row has behind the question's number."""

    @property
    def sides(self) -> int | None:
        """Answers that must be side by side for this question; None where any number will do."""
        return self.answers or (self.shows if self.shows > 1 else None)

    @property
    def given_share(self) -> float:
        """Of the items, those whose answers are shown; for the others a person begins from nothing."""
        return 1.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if what := self.problem():
            raise ValueError(what)
        return self

    def problem(self) -> str:
        """What is wrong with the question as a whole; "" for nothing."""
        return f"a {self.kind} shows one answer" if self.by_itself and self.answers not in (None, 1) else ""

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        """The fields of each answer that was entered. Raises Incomplete where there is half of one."""
        raise NotImplementedError

    def judge(self, answer: Answer, shown: Sequence[Episode], about: dict[str, Any]) -> list[Judgment]:
        """The judgments that an answer is.

        ``shown`` are the episodes as they stood on the screen. ``about`` has what every judgment carries, but for
        ``episodes``. Raises InputError for an answer that does not fit.
        """
        one = [self.place(answer, shown)] if self.about == "one" else []
        ids = tuple(episode.id for episode in (shown if self.about == "all" else one))
        values = self.own_fields(answer, self.given(answer), *one)
        with located(f"question {answer.question}"):
            return [checked_judgment(self.judgment, {**about, "episodes": ids, **values})]

    def own_fields(self, answer: Answer, given: dict[str, Any], *shown: Episode) -> dict[str, Any]:
        """The judgment's own fields, from those of the answer and, with ``about`` "one", from the episode."""
        return given

    def new_episodes(self, answer: Answer, shown: Sequence[Episode], annotator: str) -> list[Episode]:
        """Answers that somebody made and that others judge later."""
        return []

    def given(self, answer: Answer) -> dict[str, Any]:
        """The fields of an answer. Raises InputError for one that is missing, unknown, empty or too long."""
        given = {name: value for name, value in (answer.model_extra or {}).items() if value is not None}
        for name in self.takes:
            if name not in given:
                raise InputError(f"question {answer.question}: the field {name!r} is missing.")
        for name, value in given.items():
            if name not in (taken := (*self.takes, *self.may_take)):
                raise InputError(
                    f"question {answer.question}: there is no field {name!r}; a {self.kind} takes {', '.join(taken)}."
                )
            if isinstance(value, str) and not 0 < len(value) <= LONGEST:
                raise InputError(
                    f"question {answer.question}, field {name!r}: {len(value):,} characters; give 1 to {LONGEST:,}."
                )
        return given

    def place(self, answer: Answer, shown: Sequence[Episode]) -> Episode:
        """The episode that an answer is about. Raises InputError where it names none."""
        if answer.place is None:
            raise InputError(f"question {answer.question}: the field 'place' is missing.")
        if answer.place >= len(shown):
            raise InputError(f"question {answer.question}: place {answer.place}, but {len(shown)} answers are shown.")
        return shown[answer.place]


class Axis(Part):
    """One thing that is judged apart from the others; ratings on it are whole numbers on its own scale."""

    name: Name
    title: str
    lowest: int = 1
    highest: int = 7
    low: str = ""
    """What the lowest number means."""
    high: str = ""
    """What the highest number means."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not 0 < self.highest - self.lowest <= LONGEST_SCALE:
            scale = f"the scale goes from {self.lowest} to {self.highest}"
            raise ValueError(f"{scale}; highest should be above lowest, by at most {LONGEST_SCALE:,}")
        return self


OVERALL_AXIS = Axis(name="overall", title="Overall")
"""The axis that every project has; a project may give it a title and a scale of its own."""


class AxisQuestion(Question):
    """A question on one of the project's axes."""

    twice = True

    axis: Name = OVERALL_AXIS.name
    _scale: Axis = PrivateAttr(default=OVERALL_AXIS)

    @property
    def scale(self) -> Axis:
        """The project's axis of that name; ``OVERALL_AXIS`` until :func:`on_axes` has found it."""
        return self._scale

    def own_fields(self, answer: Answer, given: dict[str, Any], *shown: Episode) -> dict[str, Any]:
        return {**given, "axis": self.axis}


def on_axes(questions: Iterable[Question], axes: Iterable[Axis]) -> list[Question]:
    """Questions of a project that know their axes."""
    by_name = {axis.name: axis for axis in (OVERALL_AXIS, *axes)}
    known = []
    for question in questions:
        if isinstance(question, AxisQuestion):
            question = question.model_copy()
            question._scale = by_name[question.axis]
        known.append(question)
    return known


class CategoryQuestion(Question):
    """A question whose answers are one of some values."""

    values: tuple[Category, ...] = ()

    def choice(self, answer: Answer, choice: str) -> str:
        """The value that was chosen. Raises InputError for another one."""
        values = [category.value for category in self.values]
        if choice not in values:
            raise InputError(
                f"question {answer.question}: choice {str(choice)[:60]!r}; it should be one of {', '.join(values)}."
            )
        return choice


@cache
def _check(kind: str) -> type[BaseModel]:
    """A model that takes the fields of a kind and nothing that would have to be converted."""
    cls = judgment_type(kind)
    hints = get_type_hints(cls)
    columns: Any = {f.name: (hints[f.name], ... if f.default is MISSING else f.default) for f in fields(cls)}
    return create_model(kind, __config__=ConfigDict(strict=True, allow_inf_nan=False), **columns)


def checked_judgment(cls: type[Judgment], values: Mapping[str, Any]) -> Judgment:
    """A judgment of values from outside. Raises InputError naming the field whose value is of another type."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        _check(cls.kind).model_validate(values)
    except ValidationError as error:
        raise InputError(f"{describe(error.errors(include_url=False)[0])}.") from None
    make: Any = cls
    judgment: Judgment = make(**values)
    return judgment


def question_class(kind: str) -> type[Question]:
    """The class of the questions of a kind. Raises InputError for an unknown one; a file is none, it would be run."""
    names = registry.kind.names()
    if kind not in names:
        near = registry.nearest(kind, names)
        raise InputError(f"there is no kind {kind!r}; did you mean {near!r}? There are {', '.join(names)}")
    found: type[Question] = registry.kind.find(kind)
    return found


# ---------------------------------------------------------------- what is entered on a screen


class Incomplete(Exception):  # noqa: N818 (not an error: something is still to be done)
    """What is still to be answered, as a sentence for the person, and the name of its row."""

    def __init__(self, sentence: str, row: str) -> None:
        super().__init__(sentence)
        self.row = row


@dataclass
class AnswerForm:
    """The values that were entered about one item. ``item`` is what :func:`custodes.web.work.claim` gives.

    All values are text, because the browser keeps them under the same names until they are saved. ``q2`` is the value
    of question 2, ``q2.0`` that about the first answer shown, ``q2.0.3`` that about its fourth step.
    """

    item: Mapping[str, Any]
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> AnswerForm:
        """An item's form, as far as its draft was filled in."""
        draft = item["draft"] or {}
        values = draft.get("values", {})
        return cls(item, {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {})

    @cached_property
    def questions(self) -> list[Question]:
        """What is asked, in order."""
        asked, axes = self.item.get("questions", ()), self.item.get("axes", ())
        questions = [question_class(one["kind"]).model_validate(one, strict=False) for one in asked]
        return on_axes(questions, [Axis.model_validate(axis, strict=False) for axis in axes])

    @property
    def texts(self) -> list[str]:
        """The answers shown, as characters are counted in them: the last message of each that is an assistant's."""
        return [
            next((m["content"] for m in reversed(messages) if m["role"] == "assistant"), "")
            for messages in self.item["answers"]
        ]

    @property
    def reasons(self) -> list[str]:
        return [str(one) for one in self.listed(REASONS)]

    def listed(self, name: str) -> list[Any]:
        """A value that is a JSON list, at most ``MOST`` of it; empty for what is none, which a draft may hold."""
        try:
            entries = json.loads(self.values.get(name) or "[]")
        except (ValueError, RecursionError):
            return []
        return entries[:MOST] if isinstance(entries, list) else []

    def answers(self) -> list[Answer]:
        """The answers. Raises Incomplete where a question that is not optional has none."""
        answers: list[Answer] = []
        for number, question in enumerate(self.questions, 1):
            try:
                own = question.read(self, number)
            except (ValueError, TypeError):
                raise Incomplete("what was entered here cannot be read; enter it again.", f"q{number}") from None
            if not own and not question.optional:
                raise Incomplete(question.missing, f"q{number}{question.row}")
            answers += [Answer.model_validate({"question": number, **one}) for one in own]
        return answers

    def draft(self, seconds: float) -> dict[str, Any]:
        return {"values": self.values, "seconds": seconds, "stage": self.item.get("stage")}

    def each_place(self, number: int, what: str) -> list[tuple[int, str]]:
        """(place, value) of a question about every answer; all of them where the question is not optional."""
        found = []
        for place in range(len(self.item["answers"])):
            name = f"q{number}.{place}"
            if value := self.values.get(name, ""):
                found.append((place, value))
            elif not self.questions[number - 1].optional:
                about = f" of answer {LETTERS[place]}" if len(self.item["answers"]) > 1 else ""
                raise Incomplete(f"{what}{about} is missing.", name)
        return found


def describe(first: ErrorDetails, field: str | None = None) -> str:
    """One thing that pydantic found, in words: the field, what is wrong, what was given."""
    field = (
        ".".join(str(part) for part in first["loc"] if str(part).isidentifier() or isinstance(part, int))
        if field is None
        else field
    )
    cause = first.get("ctx", {}).get("error")
    if first["type"] == "missing":
        what = "it is missing"
    elif first["type"] == "extra_forbidden":
        what = "there is no such field"
    elif isinstance(cause, ValueError):
        what = str(cause)
    else:
        what = f"{first['msg'].replace('Input should', 'it should')} (given: {str(first['input'])[:40]!r})"
    return f"field {field!r}: {what}" if field else what
