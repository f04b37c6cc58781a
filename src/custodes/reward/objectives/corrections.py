"""What an answer should have been: the edited text is better than the text as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from custodes.feedback.exchange import found_worse
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.ranges import ranged
from custodes.registry import objective
from custodes.reward.model import OVERALL
from custodes.reward.objective import Material
from custodes.reward.objectives.pairs import Pairs
from custodes.types import Judgment, PreferencePair


@objective
@dataclass(kw_only=True)
@ranged
class Corrections(Pairs):
    """Corrections: edited over as it was, and over what its editor found worse than that."""

    judgment: ClassVar[type[Judgment]] = Correction

    on: str = ""
    """The axis that corrections teach; "" for "overall", or the first where there is no such axis."""

    def made(self, material: Material) -> list[tuple[Judgment, str, list[PreferencePair]]]:
        axis = self.on or (OVERALL if OVERALL in material.axes or not material.axes else material.axes[0])
        worse = found_worse(material.judgments(Comparison), axis)
        episodes = material.feedback.episodes
        return [(one, axis, one.pairs(episodes, worse)) for one in material.judgments(Correction)]
