"""Do replies repeat themselves, run on, or say what the first model would hardly say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from custodes.audit.diversity import repetition
from custodes.audit.probe import Probe, ProbeColumns, ProbeFigure, column, paired_figure
from custodes.registry import probe
from custodes.types import Floats

STRANGE = "Replies stranger than 99 % of the first model's"
REPEATED = "Repetition inside a reply"


@probe
@dataclass(frozen=True, kw_only=True)
class Gibberish(Probe):
    """Repetition, length limits, and how far replies surprise the first model."""

    title: ClassVar[str] = "Gibberish and repetition"
    asks: ClassVar[str] = (
        "Repetition is the share of runs of four words that the reply had before. A reply is strange where it surprises the first "
        "model more, in nats a token, than 99 % of that model's own replies do."
    )
    reads: ClassVar[Literal["items", "replies"]] = "replies"
    headline: ClassVar[tuple[str, ...]] = (STRANGE, REPEATED)
    cannot: ClassVar[str] = "whether a strange reply is wrong: a better one may be as unlikely under the first model."

    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[Any]) -> list[ProbeFigure]:
        tasks = list(next(iter(observed.values()))["task"])
        repeated = {
            model: [np.nan if text is None else repetition(text) for text in own]
            for model, own in column(observed, "text").items()
        }
        empty = {
            model: [np.nan if text is None else float(not text.strip()) for text in own]
            for model, own in column(observed, "text").items()
        }
        found = [
            paired_figure(REPEATED, repeated, tasks, note="share of runs of four words"),
            paired_figure("Replies that the limit cut", column(observed, "cut"), tasks),
            paired_figure("Empty replies", empty, tasks),
        ]
        first = next(iter(observed))
        if "nats" not in observed[first]:
            return found
        surprise = {first: _a_token(observed[first], "nats")}
        surprise |= {m: _a_token(own, "base_nats") for m, own in observed.items() if m != first and "base_nats" in own}
        limit = float(np.nanquantile(surprise[first], 0.99, method="higher"))
        strange = {model: (own > limit).astype(float) for model, own in surprise.items()}
        note = "with its tokens; 1 % or less of its own by definition"
        found.append(paired_figure(STRANGE, strange, tasks, note=note))
        found.append(paired_figure("Surprise of the first model", surprise, tasks, "number", "nats a token"))
        return found


def _a_token(columns: ProbeColumns, name: str) -> Floats:
    return np.asarray(columns[name], float) / np.maximum(np.asarray(columns["tokens"], float), 1)
