"""What a run leaves in the ledger besides tasks, episodes, judgments and annotators.

Mappings hold JSON: text keys; numbers, text, booleans, None, lists and mappings as values. Tuples inside
them come back as lists. Numbers must be finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from custodes.types import Annotator, Episode, Judgment, Task

Status = Literal["running", "completed", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded execution of a recipe.

    Each entry of ``invocations`` is one process that worked on the run, first to last: when it began
    ("started", UTC), "python", "platform", "packages" (name -> version) and "commit" (None outside a checkout).
    """

    id: str
    recipe: str
    config: Mapping[str, Any]
    seed: int
    status: Status
    started: str  # UTC, ISO 8601
    ended: str | None
    invocations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Model:
    """Weights that took part. ``id`` is the content hash of the weights, ``parent`` that of what they grew from."""

    id: str
    name: str
    kind: str  # "policy", "reward", "reference", ...
    parent: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What one scorer (name, or content hash of a reward model) said of one episode; said once per run."""

    episode: str
    scorer: str
    value: float
    std: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Something measured: ``metrics`` of ``subject`` (an arm, a model, an annotator) over ``n`` observations."""

    id: str
    name: str
    subject: str
    metrics: dict[str, Any]
    n: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice that somebody or some rule made, and why: a quarantine, an early stop, a handed-over checkpoint."""

    id: str
    what: str
    why: str
    subject: str = ""


Record = Task | Episode | Annotator | Judgment | Model | ScoreRow | Evaluation | Decision
