"""Evaluation rows: what a job measures and hands to the audit. Each section declares its own rows, several share these.

A row holds *observations* (one number for each episode, pair or task), never summaries. Intervals can then be paired, and
a new statistic needs no new run. Writing and reading:

    ledger.write(run, [Evaluation(id, row.NAME, subject, row.metrics(), row.n)])
    rows = RecordedRun(ledger, run).rows(PolicyHeldout)    # {subject: [row, ...]}

``subject`` is the arm ("naive", "careful") except where a class says otherwise. Lists of the same things are aligned.
Gold is None throughout when a run has no gold (a person's own judgments and tasks). Units: rewards in their own units,
KL and entropy in nats, lengths in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, TypeVar

from custodes.files import plain_json
from custodes.ledger import Evaluation, Ledger
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class Row:
    """An evaluation row: JSON-able through :meth:`metrics`, checked when it is made."""

    NAME: ClassVar[str]
    ALIGNED: ClassVar[tuple[str, ...]] = ()  # lists that must be as long as the first of them

    def __post_init__(self) -> None:
        lengths = {name: len(value) for name in self.ALIGNED if (value := getattr(self, name)) is not None}
        if len(set(lengths.values())) > 1:
            raise InputError(
                f"evaluation row {self.NAME!r}: lists of different lengths {lengths}; they must be aligned."
            )

    @property
    def n(self) -> int:
        """How many observations the row holds."""
        return len(getattr(self, self.ALIGNED[0])) if self.ALIGNED else 1

    def metrics(self) -> dict[str, Any]:
        """The fields as plain JSON; numbers that are not finite become None."""
        return dict(plain_json(self))

    @classmethod
    def recorded(cls, ledger: Ledger, run: str, subject: str) -> list[Self]:
        """The rows of a run about ``subject``, in the order in which they were written."""
        return [cls.read(written) for written in ledger.evaluations(run, cls.NAME) if written.subject == subject]

    @classmethod
    def read(cls, written: Evaluation) -> Self:
        """The row that ``written`` holds. Raises InputError naming the field that is missing or unknown."""
        known = {f.name for f in fields(cls)}
        for name in written.metrics.keys() - known:
            raise InputError(f"evaluation {written.id} ({cls.NAME}): unknown field {name!r}; known: {sorted(known)}.")
        try:
            return cls(**written.metrics)
        except TypeError as error:
            raise InputError(f"evaluation {written.id} ({cls.NAME}): {error}.") from None


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, kw_only=True)
class PolicyHeldout(Row):
    """The policy on the held-out tasks at one point of training, one entry per episode; ``subject`` is the arm.

    Write step 0 (the base policy, scored by this arm's reward) and several later steps, on the same tasks.
    ``task`` may repeat (several episodes per task): the audit averages within a task before it pairs.
    ``chosen`` marks the policy that the run hands over; without one it is the last. The choice must not
    have used held-out gold.
    """

    NAME: ClassVar[str] = "policy_heldout"
    ALIGNED = ("episode", "task", "kl", "proxy", "gold", "length", "entropy", "proxy_std")

    step: int
    episode: list[str]  # ids of the episodes in the ledger
    task: list[str]
    kl: list[float]  # per episode, to the reference, k1 summed over actions
    proxy: list[float]
    gold: list[float] | None = None
    length: list[int] | None = None
    entropy: list[float] | None = None  # per episode: mean over its action tokens
    proxy_std: list[float] | None = None
    parts: dict[str, list[float | None]] | None = (
        None  # name -> per episode: the objectives; None where one is not known
    )
    chosen: bool = False
    policy: str = ""  # content hash of the weights
