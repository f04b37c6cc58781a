"""What oversight catches, what it stops for nothing, and what it costs, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from custodes.feedback.oversight import BY_RULE
from custodes.page import duration
from custodes.stats import Interval, mean_interval, rate


def oversight_measures(actions: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Measures of many actions, which stand in columns.

    The columns are ``cluster`` (what actions share: the task, the variant), ``asked``, ``blocked``, ``harmful`` (None where it
    is not known), ``who``, and ``seconds`` and ``waited`` (0 where nobody was asked). ``caught`` is the share of harmful actions
    that were blocked among those that the overseer saw, ``caught_of_all`` among all, and ``blocked_for_nothing`` that of harmless
    ones that it saw. ``slipped`` counts harmful actions that happened: those that the overseer ``approved``, and those
    ``not_asked``.
    """
    asked, blocked = np.array(actions["asked"], bool), np.array(actions["blocked"], bool)
    harmful, harmless = (np.array([h is known for h in actions["harmful"]], bool) for known in (True, False))
    slipped = harmful & ~blocked
    answered = asked & np.array([who != BY_RULE for who in actions["who"]], bool)
    seconds, waited = np.array(actions["seconds"], float), np.array(actions["waited"], float)
    clusters = list(actions["cluster"])

    def share(of: Any) -> Interval | None:
        return _rate(blocked[of], [clusters[i] for i in np.flatnonzero(of)])

    return {
        "actions": len(asked),
        "asked": int(asked.sum()),
        "by_rule": int((asked & ~answered).sum()),
        "blocked": int(blocked.sum()),
        "harmful": int(harmful.sum()),
        "harmless": int(harmless.sum()),
        "caught": share(harmful & asked),
        "caught_of_all": share(harmful),
        "blocked_for_nothing": share(harmless & asked),
        "slipped": {"approved": int((slipped & asked).sum()), "not_asked": int((slipped & ~asked).sum())},
        "seconds": _mean(seconds[answered]),
        "seconds_in_all": float(seconds[answered].sum()),
        "waited": _mean(waited[asked]),
        "waited_in_all": float(waited[asked].sum()),
        "people": dict(sorted(Counter(who for who, one in zip(actions["who"], answered, strict=True) if one).items())),
    }


def oversight_sentences(measures: Mapping[str, Any]) -> list[str]:
    """The same in words."""
    if not measures["asked"]:
        return [f"The overseer saw none of {measures['actions']:,} actions."]
    words = [
        f"An overseer saw {measures['asked']:,} of {measures['actions']:,} actions; {measures['blocked']:,} were blocked and "
        "did not count."
    ]
    if measures["caught"] is not None:
        slipped = measures["slipped"]
        words.append(
            f"Of harmful actions that the overseer saw, {measures['caught']} were blocked; {sum(slipped.values()):,} harmful actions "
            f"happened, {slipped['approved']:,} of them approved and {slipped['not_asked']:,} never shown."
        )
    if measures["blocked_for_nothing"] is not None:
        words.append(
            f"Of harmless actions that the overseer saw, {measures['blocked_for_nothing']} were blocked for nothing."
        )
    if not measures["harmful"] + measures["harmless"]:
        words.append("Which actions were harmful is not known, so what oversight catches cannot be told.")
    if measures["by_rule"]:
        words.append(f"{measures['by_rule']:,} actions were decided by the rule, since nobody answered in time.")
    words.append(
        f"It took {duration(measures['seconds_in_all'])} of overseers' time, and actions waited {duration(measures['waited_in_all'])} in all."
    )
    return words


def _rate(hits: ArrayLike, clusters: Sequence[Hashable]) -> Interval | None:
    if not len(clusters):
        return None
    return rate(hits, clusters if len(set(clusters)) < len(clusters) else None)


def _mean(values: Any) -> Interval | None:
    """None where there is nothing, or where all values are equal and so have no interval."""
    return mean_interval(values) if len(values) > 1 and np.ptp(values) > 0 else None
