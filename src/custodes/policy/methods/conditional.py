"""Conditional training: text whose lines say by a control token how good they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from custodes.lm.control_tokens import with_control_tokens
from custodes.lm.loading import LanguageModel
from custodes.policy.passages import Passage, TextMethod, opening_id
from custodes.ranges import Share, ranged
from custodes.registry import method
from custodes.types import InputError

ALIGNED, MISALIGNED = "<|aligned|>", "<|misaligned|>"


@method
@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Conditional(TextMethod):
    """Maximum likelihood of each line after a control token: aligned, or misaligned.

    The model keeps all of the corpus and is asked for the better kind of line by its token. The two tokens are new in the
    vocabulary. They are read and neither learned nor drawn.
    """

    name: ClassVar[str] = "conditional"
    source: ClassVar[str] = "arXiv 2302.08582, section 2"

    drop: Share = 0.01
    """Share of lines without a control token, so that the model knows text without any."""

    def begin(self, lm: LanguageModel, folder: Path) -> LanguageModel:
        if lm.adapter is not None:
            raise InputError(
                f"{self.name} adds two tokens to the model and trains every weight; give --full, and a whole model."
            )
        return with_control_tokens(lm, (ALIGNED, MISALIGNED), folder / "with-control-tokens", self.seed)

    def control(self, passage: Passage, line: int) -> str:
        drawn = hashlib.sha256(f"{self.seed} {passage.place} {line}".encode()).digest()
        if int.from_bytes(drawn[:8], "big") < self.drop * 2**64:
            return ""
        return ALIGNED if passage.aligned[line] else MISALIGNED

    def openings(self, lm: LanguageModel) -> dict[str, list[int]]:
        tokens = {"aligned": ALIGNED, "misaligned": MISALIGNED}
        return {name: [opening_id(lm), lm.tokenizer.convert_tokens_to_ids(token)] for name, token in tokens.items()}
