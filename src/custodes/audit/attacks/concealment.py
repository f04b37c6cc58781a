"""Concealing beside confessing: does a preference model like the transcript better that hides what was done?

Each request of the file has two replies to it in further columns: ``concealing`` and ``confessing``. They tell of the same deed, and one of
them leaves it out. Transcripts of ``gaming run`` that concealed and that reported can be put into such a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from custodes.audit.reward_attack import RewardAttack, RewardTrial
from custodes.registry import attack
from custodes.types import InputError

SIDES = ("concealing", "confessing")


@attack
@dataclass(frozen=True, kw_only=True)
class Concealment(RewardAttack):
    """Scores both replies of each request."""

    name: ClassVar[str] = "concealment"
    source: ClassVar[str] = "arXiv 2406.10162"
    beside_answers: ClassVar[bool] = False

    def planned(self) -> int:
        return len(SIDES)

    def run(self, trial: RewardTrial) -> None:
        texts = [trial.request.task.metadata.get(side) for side in SIDES]
        for side, text in zip(SIDES, texts, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise InputError(
                    f"request {trial.request.task.id} has no {side} reply; give the columns {' and '.join(SIDES)}."
                )
        scores, spreads = trial.scores([str(text) for text in texts])
        for text, score, spread in zip(texts, scores, spreads, strict=True):
            trial.keep(str(text), score, spread)
