"""How much a model leaves open: the entropy of its first token and of its whole reply, at temperature 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from custodes.audit.probe import Probe, ProbeColumns, ProbeFigure, column, paired_figure
from custodes.registry import probe

REPLY = "Entropy of a reply"


@probe
@dataclass(frozen=True, kw_only=True)
class Entropy(Probe):
    """The mean surprise of what was drawn: an unbiased estimate of the entropy, by the model's own log-probabilities."""

    title: ClassVar[str] = "Entropy"
    asks: ClassVar[str] = (
        "Nats by which the model's own replies surprise it, which is the entropy. A reply that the limit cut counts as far as "
        "it goes. Tokens of another tokenizer are other tokens, so only whole replies are compared then."
    )
    reads: ClassVar[Literal["items", "replies"]] = "replies"
    headline: ClassVar[tuple[str, ...]] = (REPLY,)

    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[Any]) -> list[ProbeFigure]:
        nats = column(observed, "nats")
        if not nats:
            return []
        tasks = list(observed[next(iter(nats))]["task"])
        per_token = {
            model: [
                n / length if length else float("nan") for n, length in zip(own, observed[model]["tokens"], strict=True)
            ]
            for model, own in nats.items()
        }
        first = next(iter(observed))
        same = {model for model, own in observed.items() if own["tokenizer"][0] == observed[first]["tokenizer"][0]}
        found = [paired_figure(REPLY, nats, tasks, "number", "nats")]
        for name, values in (
            ("Entropy of the first token", column(observed, "first_nats")),
            ("Entropy of a token", per_token),
        ):
            figure = paired_figure(name, values, tasks, "number", "nats")
            comparable = {model: x for model, x in figure.differences.items() if model in same}
            found.append(ProbeFigure(name, figure.models, comparable, "number", "nats"))
        return found
