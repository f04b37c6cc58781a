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

    Each entry of ``invocations`` is one process that worked on the run, first to last. It says when the process began
    ("started", UTC), "python", "platform", "packages" (name -> version) and "commit" (None outside a checkout). It says when
    the process "ended", where it ended in order. What it cost is there where that is recorded: "seconds",
    "processor_seconds", "peak_memory_gb", "command". One that was "killed" has the seconds up to its last row, once the
    run is resumed.
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


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that a run read or wrote, or a block of one: the SHA-256 of its bytes from ``start`` up to ``end``.

    A block that starts at 0 begins a new version of the file; others follow the block before. ``first_line`` and
    ``last_line`` count from 1, and are 0 where a file has no lines. ``path`` is relative to the ledger's folder
    where the file is below that. A checkpoint may go when a later one takes its place; other outputs stay.
    """

    id: str
    path: str
    role: Literal["output", "input", "checkpoint"]
    sha256: str
    start: int = 0
    end: int = 0
    first_line: int = 0
    last_line: int = 0


@dataclass(frozen=True, slots=True)
class Redaction:
    """Fields that were withdrawn from rows: by whom and why; when is the time of this row.

    ``withdrawn`` names the fields of each row by its number: {"12": ["text"]}; a field of a mapping is ``task.messages``.
    ``files`` are whole files that were withdrawn, by their names in the ledger. ``left`` is for rows that were written in
    ledger format 0001: the digest of what is left of each.
    """

    id: str
    withdrawn: Mapping[str, Any]
    who: str
    why: str
    files: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)


Record = Task | Episode | Annotator | Judgment | Model | ScoreRow | Evaluation | Decision | Artefact | Redaction
