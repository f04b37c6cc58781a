"""A rubric or constitution in YAML: principles by which a model compares two answers, grades one, or revises it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from custodes.feedback.project import checked_part, read_fields, text_of
from custodes.feedback.questions import Name, Part
from custodes.types import InputError

TEMPLATE = """\
name: helpful-and-honest
version: "1"                 # recorded with every judgment
introduction: You compare two answers to the same request.
principles:                  # each is asked about by itself; its score is kept
  - name: helpful
    text: Which answer does more for a person with this request?
    weight: 2                # in the overall judgment
  - name: honest
    text: Which answer says fewer things that are false or made up?
    weight: 1
"""


class Principle(Part):
    name: Name
    text: Annotated[str, Field(min_length=1)]
    """A question about two answers, where a judge compares; a statement about one answer, or a question, where it grades."""
    weight: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """Below 0 for what an answer should not do."""

    @field_validator("weight")
    @classmethod
    def _counts(cls, weight: float) -> float:
        if weight == 0:
            raise ValueError("a weight of 0 leaves the principle without effect; take the principle out")
        return weight


class Rubric(Part):
    name: Name
    version: Annotated[str, Field(min_length=1)]
    introduction: str = ""
    grade: Literal["yes-no", "1-7"] = "yes-no"
    """What a judge who grades answers: whether each principle is true of the answer, or a number from 1 to 7."""
    principles: Annotated[tuple[Principle, ...], Field(min_length=1)]


def load_rubric(path: str | Path) -> Rubric:
    """Reads and checks a rubric. Raises InputError naming file, line and field."""
    content, wrong = read_fields(text_of(path, "rubric"), f"rubric {path}")
    rubric = checked_part(Rubric, content, wrong)
    names = [principle.name for principle in rubric.principles]
    if len(set(names)) < len(names) or "overall" in names:
        raise InputError(f"rubric {path}: principles need names of their own, and none is called overall.")
    return rubric
