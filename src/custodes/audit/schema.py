"""What a recipe measures and hands to the audit: one dataclass per kind of evaluation row.

A recipe writes them; the audit reads them back from the ledger and computes every interval itself.
So rows hold *observations* (one number per episode, pair or task), never summaries: intervals can then
be paired and a new statistic needs no new run. Writing and reading:

    ledger.write(run, [Evaluation(id, row.NAME, subject, row.metrics(), row.n)])
    rows = read_rows(PolicyHeldout, ledger.evaluations(run, PolicyHeldout.NAME))    # [(subject, row)]

``subject`` is the arm ("naive", "careful") except where a class says otherwise. Within a class, fields
that are lists of the same things are aligned. Gold is None throughout when a run has no gold (a user's
own judgments and tasks). Units: rewards in their own units, KL and entropy in nats, lengths in tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

from custodes.types import InputError


class Written(Protocol):
    """What the audit needs of the ledger's ``Evaluation``."""

    @property
    def id(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def metrics(self) -> dict[str, Any]: ...


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
        return dict(plain(self))

    @classmethod
    def read(cls, written: Written) -> Self:
        """The row that ``written`` holds. Raises InputError naming the field that is missing or unknown."""
        known = {f.name for f in fields(cls)}
        for name in written.metrics.keys() - known:
            raise InputError(f"evaluation {written.id} ({cls.NAME}): unknown field {name!r}; known: {sorted(known)}.")
        try:
            return cls(**written.metrics)
        except TypeError as error:
            raise InputError(f"evaluation {written.id} ({cls.NAME}): {error}.") from None


R = TypeVar("R", bound=Row)


def read_rows(kind: type[R], written: Iterable[Written]) -> list[tuple[str, R]]:
    """(subject, row) for each written evaluation, in the order in which they were written."""
    return [(w.subject, kind.read(w)) for w in written]


# ---------------------------------------------------------------- the judges


@dataclass(frozen=True, kw_only=True)
class AnnotatorEstimate(Row):
    """What the annotator model says of one annotator; ``subject`` is the annotator's id.

    Units are those of ``feedback.AnnotatorModel``: ``reliability`` 1 is typical, 0 carries nothing, below 0 is
    inverted; ``position`` is the log-odds added to the first shown, ``length`` the log-odds per standard deviation
    of the difference in log-length that somebody adds to what the typical annotator does. The truth is known for simulated annotators only and on a scale of its own:
    only ranks are compared. ``feature`` and what follows are of ``feedback.suspect_inversions``: the prompts on
    which the annotator seems to answer the opposite.
    """

    NAME: ClassVar[str] = "annotator_model"

    judgments: int
    reliability: float
    reliability_se: float
    reliability_low: float | None = None  # ends of the 95 % interval; None in rows of 0.1
    reliability_high: float | None = None
    position: float | None = None
    position_se: float | None = None
    length: float | None = None
    length_se: float | None = None
    repeats: int = 0  # pairs of judgments by this annotator of the same two episodes
    repeats_same: int = 0  # how many of them gave the same verdict
    nature: str | None = None  # "expert", "hasty", "length_biased", "position_biased", "random", "poisoner"
    true_reliability: float | None = None
    true_position: float | None = None
    true_length: float | None = None
    feature: str | None = None
    agreed_inside: int | None = None  # judgments on prompts with the feature that agree with the other annotators
    inside: int | None = None
    agreed_outside: int | None = None
    outside: int | None = None
    p_adjusted: float | None = None

    @property
    def n(self) -> int:
        return self.judgments


@dataclass(frozen=True, kw_only=True)
class Agreement(Row):
    """Krippendorff's alpha over all comparisons with its interval (None of too few pairs); ``subject`` is "annotators"."""

    NAME: ClassVar[str] = "agreement"

    alpha: float
    alpha_low: float | None
    alpha_high: float | None
    items: int  # pairs judged by at least two annotators
    judgments: int

    @property
    def n(self) -> int:
        return self.items


# ---------------------------------------------------------------- the reward


@dataclass(frozen=True, kw_only=True)
class RewardHeldout(Row):
    """The reward on held-out judged pairs, one entry per pair; ``subject`` is the arm.

    ``margin`` is raw: reward of the first shown minus reward of the second; P(first better) is
    sigmoid(margin) before and sigmoid(margin / temperature) after calibration. ``temperature`` must have
    been fitted on other pairs than these. ``outcome`` is 1 where the first was preferred and 0 where the
    second was; pairs without a preference are left out.
    """

    NAME: ClassVar[str] = "reward_heldout"
    ALIGNED = ("margin", "outcome", "length_difference", "spread", "gold_difference", "task")

    margin: list[float]
    outcome: list[int]
    length_difference: list[int]  # tokens of the first minus tokens of the second
    temperature: float = 1.0
    spread: list[float] | None = None  # standard deviation of the margin over the ensemble's members
    gold_difference: list[float] | None = None
    members: int = 1
    model: str = ""  # content hash of the reward
    task: list[str] | None = None  # pairs of one task depend on each other


# ---------------------------------------------------------------- the policy


@dataclass(frozen=True, kw_only=True)
class PolicyStep(Row):
    """One optimisation step, on the training batch; ``subject`` is the arm. Only ``step`` is required."""

    NAME: ClassVar[str] = "policy_step"

    step: int
    kl: float | None = None  # mean over episodes of the summed k1 estimate, to the reference, not clamped
    kl_token: float | None = None  # mean over action tokens
    proxy: float | None = None  # mean reward before the KL penalty
    proxy_std: float | None = None  # mean over episodes of the ensemble's standard deviation
    entropy: float | None = None  # mean over action tokens
    length: float | None = None  # mean action tokens per episode
    truncated: float | None = None  # share of episodes cut at the token limit
    clip_fraction: float | None = None
    value_error: float | None = None
    grad_norm: float | None = None
    kl_coefficient: float | None = None
    seconds: float | None = None
    episodes: int = 0

    @property
    def n(self) -> int:
        return self.episodes


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
    chosen: bool = False
    policy: str = ""  # content hash of the weights


@dataclass(frozen=True, kw_only=True)
class BestOfN(Row):
    """Base-policy samples of the held-out tasks, scored; ``subject`` is the arm whose reward is ``proxy``.

    ``proxy[i][j]`` and ``gold[i][j]`` belong to sample j of ``task[i]``. The audit computes the expected
    proxy and gold of best-of-n for every n up to the number of samples, without bias.
    """

    NAME: ClassVar[str] = "best_of_n"
    ALIGNED = ("task", "proxy", "gold")

    task: list[str]
    proxy: list[list[float]]
    gold: list[list[float]] | None = None


@dataclass(frozen=True, kw_only=True)
class Checks(Row):
    """Every check of every held-out task before and after; ``subject`` is the arm. ``base`` and ``optimised``
    are 1 where the check holds (or the share of the task's episodes in which it holds)."""

    NAME: ClassVar[str] = "checks"
    ALIGNED = ("task", "check", "base", "optimised")

    task: list[str]
    check: list[str]
    base: list[float]
    optimised: list[float]


@dataclass(frozen=True, kw_only=True)
class Samples(Row):
    """Episodes from which diversity is measured: the same tasks, several episodes each; ``subject`` is "base"
    or the arm. Their texts are read from the ledger."""

    NAME: ClassVar[str] = "samples"
    ALIGNED = ("episode",)

    episode: list[str]
    policy: str = ""


# ---------------------------------------------------------------- what it cost


@dataclass(frozen=True, kw_only=True)
class Resources(Row):
    """What was spent since the row before; ``subject`` is "run". Seconds and tokens add up, the largest memory counts.

    A row is written with what was bought by it, so that the cost of a run that was killed is known too."""

    NAME: ClassVar[str] = "resources"

    seconds: dict[str, float]  # phase -> seconds, in the order of the loop
    peak_memory_gb: float | None = None
    cores: int | None = None
    command: str = ""  # reproduces the run
    tokens_sampled: int | None = None
    tokens_trained: int | None = None
    machine: dict[str, str] = field(default_factory=dict)


def plain(value: Any) -> Any:
    """JSON of ``value``: dataclasses become objects, numpy's numbers Python's, numbers that are not finite None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy scalar or array
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
