"""A feedback project in one YAML file: what is asked of whom, how it is checked, and when it ends.

The file is checked as a whole before anything starts; what is wrong is one sentence with file, line and field.
``TEMPLATE`` is a project with every field and a comment beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from custodes import registry
from custodes.feedback.questions import (
    OVERALL_AXIS,
    Axis,
    AxisQuestion,
    Name,
    Part,
    Proportion,
    Question,
    describe,
    on_axes,
    question_class,
)
from custodes.types import InputError

M = TypeVar("M", bound=Part)
Place = tuple[int | str, ...]
Wrong = Callable[[Place, str], InputError]


class Guidelines(Part):
    version: str = Field(min_length=1)
    text: str = Field(min_length=1)


class Assignment(Part):
    """Who gets what."""

    overlap: Annotated[int, Field(ge=1, le=100)] = 3
    """Different annotators per item."""
    gold_share: Proportion = 0.1
    """Share of what an annotator sees that is a gold item."""
    repeat_share: Proportion = 0.05
    """Share of what an annotator sees that they have judged before, to measure consistency."""
    lease_minutes: Annotated[float, Field(gt=0)] = 30.0
    """An item that is not answered in this time goes to somebody else."""
    selection: Literal["random", "active"] = "random"
    """What comes next: any open item, or the one that teaches most under the annotator model."""
    most_per_annotator: Annotated[int, Field(ge=1)] | None = None
    """Items that one annotator may judge."""

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.gold_share + self.repeat_share >= 1:
            raise ValueError(f"gold_share {self.gold_share} and repeat_share {self.repeat_share} leave nothing to ask")
        return self


class Stopping(Part):
    """When the project ends; whatever comes first. Without any of these, when every item has its overlap."""

    judgments: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours of annotators' time, gold and repeated items included."""
    uncertainty: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Mean over items of the probability that the fitted better answer is the worse one."""


class Quota(Part):
    """Whose judgments: shares of a population by a field of the annotators' profiles."""

    field: Name
    shares: Mapping[str, Proportion]

    @field_validator("shares")
    @classmethod
    def _sums_to_one(cls, shares: Mapping[str, float]) -> Mapping[str, float]:
        total = sum(shares.values())
        if not 0.999 <= total <= 1.001:
            raise ValueError(f"the shares add up to {total:g}; they should add up to 1")
        return shares


class Welfare(Part):
    """How annotators are protected: sentences, which the record keeps and a disclosure repeats."""

    harmful_content: str = ""
    """What they may meet, and how they are warned."""
    skipping: str = ""
    """Whether they may give an item back, and what that costs them."""
    breaks: str = ""
    """How long they work at a time, and which breaks they have."""


class Project(Part):
    """A whole project; see ``TEMPLATE`` for what each field is."""

    name: Name
    title: str
    tasks: str
    """File of tasks (relative to the project's file), or "" when they are imported."""
    guidelines: Guidelines
    members: Literal["listed", "everybody"] = "listed"
    """Who sees it: the members that a lead names, or everybody with an account. Leads and auditors always do."""
    axes: tuple[Axis, ...] = ()
    questions: Annotated[tuple[SerializeAsAny[Question], ...], Field(min_length=1)]
    reasons: tuple[str, ...] = ()
    assisted: bool | Literal["at random"] = False
    """Whether everything is judged twice: alone first, then with the help that the task brings. "at random": judged
    once, and a coin for each person and item says whether the help is shown from the start."""
    assignment: Assignment = Assignment()
    stopping: Stopping = Stopping()
    quotas: tuple[Quota, ...] = ()
    pay_per_hour: Annotated[float, Field(ge=0)] | None = None
    currency: str = ""
    welfare: Welfare = Welfare()
    seed: int = 0


def load_project(path: str | Path) -> Project:
    """Reads and checks a project's file. Raises InputError naming file, line and field."""
    return parse_project(text_of(path, "project"), str(path))


def parse_project(text: str, where: str = "project") -> Project:
    """Checks the text of a project's file; ``where`` names it in errors. Raises InputError naming line and field."""
    content, wrong = read_fields(text, where)
    if isinstance(asked := content.get("questions"), tuple):
        content["questions"] = tuple(_question(values, n, wrong) for n, values in enumerate(asked))
    project = checked_part(Project, content, wrong)
    for place, what in _contradictions(project):
        raise wrong(place, f"field {_dotted(place)!r}: {what}")
    return project.model_copy(update={"questions": tuple(on_axes(project.questions, project.axes))})


def text_of(path: str | Path, what: str) -> str:
    """The text of a person's file. Raises InputError where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{what} {path} cannot be read ({why}).") from None


def read_fields(text: str, where: str) -> tuple[dict[str, Any], Wrong]:
    """The fields of a YAML file, lists as tuples, and what makes the error for a place in it with its line.

    Raises InputError where it is no YAML, holds no fields, or holds one twice.
    """
    try:
        if "&" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise InputError(f"{where}: an alias such as *name stands for other text; write the text itself.")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except RecursionError:
        raise InputError(f"{where}: it is nested too deeply.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{where}{line}: not YAML ({getattr(error, 'problem', None) or str(error).splitlines()[0]})."
        ) from None
    if not isinstance(content, dict) or root is None:
        raise InputError(f"{where}: holds {type(content).__name__}; it should hold fields such as name.")
    for number, key in _repeated(root):
        raise InputError(f"{where}, line {number}, field {key!r}: it is there twice; keep one.")

    def wrong(place: Place, what: str) -> InputError:
        return InputError(f"{where}, line {_line(root, place)}, {what}.")

    return _tuples(content), wrong


def checked_part(cls: type[M], values: Any, wrong: Wrong, place: Place = ()) -> M:
    """The part of a file that stands at ``place``. Raises InputError naming line and field."""
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        # an unknown name explains the missing one that it was meant to be
        first = min(error.errors(include_url=False), key=lambda e: e["type"] == "missing")
        place = (*place, *first["loc"])
        raise wrong(place, describe(first, _dotted(place))) from None


def new_project(path: str | Path) -> Path:
    """Writes ``TEMPLATE`` to ``path``. Raises InputError where a file is or the folder is not."""
    path = Path(path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise InputError(f"{path} is there already; name a new file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    return path


def _question(values: Any, n: int, wrong: Wrong) -> Question:
    """The ``n``-th question of a file, from 0, as its kind has it."""
    cls, place = Question, ("questions", n, "kind")
    if isinstance(values, dict) and isinstance(values.get("kind"), str):
        try:
            cls = question_class(values["kind"])
        except InputError as error:
            raise wrong(place, f"field {_dotted(place)!r}: {error}") from None
    return checked_part(cls, values, wrong, place[:2])


def _dotted(place: Place) -> str:
    return ".".join(str(part + 1 if isinstance(part, int) else part) for part in place)


def _contradictions(project: Project) -> Iterator[tuple[Place, str]]:
    """(place, what is wrong) of parts that are right by themselves and do not fit together."""
    names: list[str] = []
    for n, axis in enumerate(project.axes):
        if axis.name in names:
            yield ("axes", n, "name"), f"there is an axis {axis.name!r} already"
        names.append(axis.name)
    names = list(dict.fromkeys((OVERALL_AXIS.name, *names)))
    for n, question in enumerate(project.questions):
        if isinstance(question, AxisQuestion) and question.axis not in names:
            yield ("questions", n, "axis"), f"{question.axis!r} is no axis; the axes are {', '.join(names)}"
    shown = {question.sides for question in project.questions} - {None}
    alone = [question.kind for question in project.questions if question.by_itself]
    if len(shown) > 1:
        yield ("questions",), "the questions of one project show the same number of answers"
    if alone and shown - {1}:
        yield ("questions",), f"a {alone[0]} is of one answer; ask about several in another project"
    twice = project.assisted is True
    if twice and not any(question.twice for question in project.questions):
        kinds = [name for name in registry.kind.names() if registry.kind.find(name).twice]
        yield ("assisted",), f"only questions of the kinds {', '.join(kinds)} are judged again with help"
    if twice and alone:
        yield ("assisted",), f"a {alone[0]} is not judged twice; ask for it in another project"


# ---------------------------------------------------------------- where something stands in the file


def _line(root: yaml.Node, place: Place) -> int:
    """Line (from 1) of the field at ``place``; of what should hold it where it is missing."""
    node, line = root, int(root.start_mark.line)
    for part in place:
        found: tuple[yaml.Node, int] | None = None
        if isinstance(node, yaml.MappingNode):
            found = next(((v, k.start_mark.line) for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part].start_mark.line)
        if found is None:
            break
        node, line = found
    return int(line) + 1


def _repeated(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """(line, key) of keys that a mapping holds twice, which YAML would quietly overwrite."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, key.value
            seen.add(key.value)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value)


def _tuples(value: Any) -> Any:
    """Lists become the tuples that frozen parts hold; whole numbers stay whole numbers."""
    if isinstance(value, dict):
        return {str(key): _tuples(held) for key, held in value.items()}
    return tuple(_tuples(held) for held in value) if isinstance(value, list) else value


TEMPLATE = """\
# A feedback project. Check it with: custodes project check FILE
name: helpfulness            # used in addresses and in the ledger: a-z, 0-9, - and _
title: Which answer helps more?
tasks: tasks.jsonl           # one task per line, beside this file: {"prompt": ..., "answers": [..., ...]}
                             # optional per line: "id", "gold" (see docs/how-to/projects.md), "tags"
members: listed              # listed: those whom a lead names on the page Manage; or everybody with an account

guidelines:
  version: "1"               # recorded with every judgment; change it whenever the text changes
  text: |
    Prefer the answer that a person with this question would rather have got.
    Length is no merit. When both are wrong, say so.

axes:                        # besides "overall", which is always there
  - name: truthful
    title: Truthfulness
    lowest: 1                # ratings are whole numbers from lowest to highest; 1 and 7 where an axis does not say
    highest: 7
    low: says things that are false
    high: everything it says is so

questions:                   # asked of every item, in this order
  - kind: comparison         # comparison, ranking, rating, label, correction, demonstration, comment, span, step,
    axis: overall            # tamper or critique (see docs/how-to/critique-people.md)
  - kind: rating
    axis: truthful
    optional: true
  - kind: label
    name: acceptable
    values:
      - {value: "yes", title: I would send this}
      - {value: "no", title: I would not send this}
    optional: true

reasons: [correct, complete, clear, polite]   # chips that can be clicked to say why
assisted: false              # true: judged alone first, then again with the help that each task brings
                             # at random: judged once; a coin for each person and item says whether help is shown

assignment:
  overlap: 3                 # different annotators per item
  gold_share: 0.1            # share of what an annotator sees that has a known answer
  repeat_share: 0.05         # share that they have judged before, to measure consistency
  lease_minutes: 30          # what is not answered in this time goes to somebody else
  selection: random          # or active: the item that teaches most under the annotator model
  # most_per_annotator: 200

stopping: {}                 # ends when every item has its overlap, or earlier at one of these:
  # judgments: 3000
  # hours: 40
  # uncertainty: 0.1         # mean probability that the fitted better answer is the worse one

quotas: []                   # whose judgments, by a field of the annotators' profiles:
  # - field: country
  #   shares: {DE: 0.5, FR: 0.5}

# pay_per_hour: 20.0         # for the cost per judgment, and for the disclosure of how people were paid
# currency: EUR

welfare: {}                  # how annotators are protected, in sentences; the disclosure repeats them:
  # harmful_content: Items may describe injuries; the first screen says so.
  # skipping: Any item may be given back without a reason, and is paid.
  # breaks: At most two hours at a time, with ten minutes of paid break in each.

seed: 0                      # decides the order of items and of answers
"""
