"""What a finding rests on: a documented example that fails, an input that breaks a promise, or nothing but an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

EvidenceKind = Literal["failing example", "contradiction", "difference", "wrong example"]
"""In the order of their weight; a finding without evidence is an argument."""
SHOWN_FROM = 0.5
"""Confidence from which a finding with evidence is shown at strictness 0."""
TITLES: dict[str, str] = {
    "failing example": "an example fails",
    "contradiction": "a promise is broken",
    "difference": "old and new differ",
    "wrong example": "the example is wrong",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was run, what came, and what was promised by whom. ``test`` is a test to paste, which fails.

    ``line`` is where the promise stands in the file, ``at`` where an exception was raised (0 for nowhere).
    """

    kind: EvidenceKind
    call: str
    came: str
    promised: str
    by: str
    test: str
    line: int
    at: int = 0
    note: str = ""

    @property
    def rows(self) -> dict[str, str]:
        """What was called, what came, what was promised by whom, and a note, each under its label, as far as it is there."""
        rows = {"called": self.call, "came": self.came, "promised": self.promised, "by": self.by, "note": self.note}
        return {label: value for label, value in rows.items() if value}

    @property
    def sentence(self) -> str:
        """The whole on one line."""
        note = f" ({self.note})" if self.note else ""
        call = " ".join(self.call.split())
        if self.kind == "wrong example":
            return (
                f"The example {call} promises {self.promised}, and {self.came} comes: the example may be wrong{note}."
            )
        return f"{call} gives {self.came}; promised is {self.promised}, by {self.by}{note}."


@dataclass(frozen=True, slots=True)
class FunctionRun:
    """Whether a function was run, on how many inputs, and if not, why."""

    file: str
    name: str
    line: int
    ran: bool
    reason: str = ""
    inputs: int = 0


def frontier_score(confidence: float) -> float:
    """Nats by which a confidence is beyond what is shown at strictness 0."""
    bounded = min(max(confidence, 1e-6), 1 - 1e-6)
    return math.log(bounded / (1 - bounded)) - math.log(SHOWN_FROM / (1 - SHOWN_FROM))


def runs_in_words(runs: list[FunctionRun]) -> str:
    """How many functions were run, and why the others were not, the commonest reason first."""
    if not runs:
        return ""
    reasons: dict[str, int] = {}
    for run in runs:
        if not run.ran:
            reasons[run.reason] = reasons.get(run.reason, 0) + 1
    ran = sum(run.ran for run in runs)
    text = f"{ran} of {len(runs)} {'function was' if len(runs) == 1 else 'functions were'} run"
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    others = [f"{count} not: {reason}" for reason, count in ordered[:4]]
    others += [f"{sum(count for _, count in ordered[4:])} for other reasons"] if ordered[4:] else []
    return "; ".join([text, *others])
