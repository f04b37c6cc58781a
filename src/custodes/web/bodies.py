"""What may be sent to the server, field by field. Whatever is not named here is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from custodes.feedback.questions import Answer
from custodes.web.work import WorkStage

Line = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=100_000)]
Plain = str | int | float | bool | None


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SignIn(Body):
    name: Line
    password: Annotated[str, Field(min_length=1, max_length=1000)]


class Join(SignIn):
    invitation: Line


class Invite(Body):
    role: Line = "annotator"
    profile: Annotated[dict[str, Line | list[Line]], Field(max_length=20)] = {}
    """Groups for quotas and agreement; "expertise" lists the tags of items that the person may get."""


class NewToken(Body):
    name: Line
    scopes: Annotated[list[Line], Field(max_length=10)]
    days: Annotated[float, Field(gt=0, le=366)] = 30.0


class ChangeAccount(Body):
    disabled: bool


class ChangePassword(Body):
    old: Annotated[str, Field(min_length=1, max_length=1000)]
    new: Annotated[str, Field(min_length=1, max_length=1000)]


class NewProject(Body):
    text: Annotated[str, Field(max_length=1_000_000)]
    """The project's YAML."""
    tasks: Annotated[list[dict[str, Any]], Field(max_length=100_000)]
    """Rows as in a file of tasks."""


class Why(Body):
    why: Annotated[str, Field(max_length=2000)] = ""


class Skip(Why):
    flag: bool = False


class Quarantine(Body):
    account: Line
    why: Annotated[str, Field(min_length=1, max_length=2000)]
    lift: bool = False


class Member(Body):
    account: Line
    remove: bool = False


class FlagAnswer(Body):
    text: Annotated[str, Field(min_length=1, max_length=2000)]


class HandIn(Body):
    answers: Annotated[list[Answer], Field(max_length=200)]
    seconds: Annotated[float, Field(ge=0, le=86_400)]
    """Working time, idle time left out."""
    reasons: Annotated[list[Line], Field(max_length=50)] = []
    assistance: Annotated[str, Field(max_length=200)] = ""
    revise: bool = False
    stage: WorkStage | None = None
    """In assisted projects: whether these are the answers given alone, or those given with help."""


class Entered(BaseModel):
    """What is on a screen: values by name. Programs may keep plain values of their own under other names."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, Plain]

    values: Annotated[dict[Annotated[str, Field(max_length=200)], Text], Field(max_length=1_000)] = {}
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    stage: WorkStage | None = None


class Draft(Body):
    draft: Entered


class Turn(Body):
    role: Literal["system", "user", "assistant", "tool"]
    content: Text


class Proposal(Body):
    policy: Line
    """Which version of the policy proposes this."""
    action: Annotated[str, Field(min_length=1, max_length=100_000)]
    context: Annotated[list[Turn], Field(max_length=1000)] = []
    reason: Text = ""
    """What the policy says about it."""
    timeout: Annotated[float, Field(gt=0, le=604_800)] = 300.0
    """Seconds within which somebody has to answer."""
    rule: Literal["approve", "block"] = "block"
    """What happens where nobody does."""
    harmful: bool | None = None
    """Where it is known: for the catch rate; the person does not see it."""
    key: Line | Literal[""] = ""
    """The proposer's own name of this action: the same name again is the same action."""


class Decided(Body):
    answer: Literal["approve", "block"]
    seconds: Annotated[float, Field(ge=0, le=86_400)]
    """Of the person's time."""
    why: Annotated[str, Field(max_length=2000)] = ""


class Truth(Body):
    harmful: bool


class Import(Body):
    """A file's content."""

    content: Annotated[str, Field(min_length=1, max_length=50_000_000)]
    ending: Literal[".jsonl", ".json"] = ".jsonl"
    """How the file's name ends, which says what it is; nothing else of its name matters."""
    form: Literal["preferences", "judgments", "argilla", "label-studio"] = "preferences"


class NewWebhook(Body):
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    events: Annotated[list[Line], Field(max_length=10)]
    """Of judgment, ended, alarm, quarantine and flag."""
