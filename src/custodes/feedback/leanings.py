"""What a judge leans to more than people do: longer answers, and answers in the judge's own style.

Longer answers are often better, so a judge who prefers them need not be biased. What is measured is how the judge deviates
from the crowd whose common quality the annotator model estimates (self-preference: arXiv 2404.13076, which also takes the
judge's own likelihood; length: 2404.04475).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from custodes.feedback.annotator_model import fit_annotators
from custodes.stats import Interval, normal_quantile
from custodes.types import Episode, InputError, Judgment


def judge_leanings(
    name: str,
    judgments: Iterable[Judgment],
    episodes: Mapping[str, Episode],
    own: Mapping[str, float] | None = None,
    axis: str = "overall",
) -> dict[str, Interval]:
    """Log-odds by which judge ``name`` leans to a property of an answer more than the crowd does, by the property's name.

    "length": for an answer that is e times as long in characters. "own style": for an answer each of whose tokens the judge
    itself finds e times as likely, where ``own`` (mean log-probability per token, nats, by episode) says so. ``judgments``
    are the judge's and people's. None where nobody else judged: with nobody to compare with, a leaning cannot be told
    from quality. n of an interval is the judge's comparisons.
    """
    found = {}
    judgments = [judgment for judgment in judgments if set(judgment.episodes) <= episodes.keys()]
    for what, property_of in (("length", None), ("own style", own)):
        if what == "own style" and own is None:
            continue
        try:
            model = fit_annotators(judgments, episodes.values(), axis, leaning_to=property_of)
        except InputError:  # nothing was compared on this axis
            return {}
        if len(model.annotators) < 2 or name not in model.annotators or not model.length_unit:
            return {}
        estimate = model.of(name)
        leaning, reach = (
            estimate.length / model.length_unit,
            normal_quantile(0.95) * estimate.length_se / model.length_unit,
        )
        found[what] = Interval(leaning, leaning - reach, leaning + reach, estimate.judgments)
    return found
