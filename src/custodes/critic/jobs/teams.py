"""When a person with a critic beats both alone: what ``custodes critic teams`` simulates."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from custodes.feedback.teams import Person, TeamResult, analyse, simulate_reviews
from custodes.job.command import command, in_words
from custodes.ranges import Count, Share, ranged
from custodes.stats import Interval
from custodes.types import InputError

GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of how reliably the person keeps what is right, and removes what is wrong."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticTeams:
    """Simulate a person, a critic, and both together. The person is simulated, and called so."""

    cbi: Share = 0.6
    """How often the critic alone points the bug out, as measured."""
    wrong: float = 1.0
    """Wrong comments of the critic in a review, on average, as measured."""
    problems: Count = 1000
    """Problems that all three review."""
    seed: int = 0
    """Decides everything that is drawn."""
    person: Person = field(default_factory=Person)

    def __post_init__(self) -> None:
        if not 0 <= self.cbi <= 1 or self.wrong < 0 or self.problems < 2:
            raise InputError("a critic's cbi is between 0 and 1, wrong is 0 or more, and problems are 2 or more.")


@command()
def critic_teams(config: CriticTeams) -> dict[str, Any]:
    """Say when a person with a critic beats both alone, by simulation.

    The three arms with intervals, and over the grid of keeping and removing: whether the team beats both.
    """
    pairs = [{"keeps": keeps, "removes": removes} for keeps in GRID for removes in GRID]
    grid = [{**pair, "beats_both": _result(config, **pair).beats_both} for pair in pairs]
    result = _result(config)
    told: dict[str, Any] = {"person": {"kind": "simulated", **asdict(config.person)}, "beats_both": result.beats_both}
    told["notes"] = [result.note] if result.note else []
    for name in ("caught", "false", "more_caught", "fewer_false"):
        told[name] = {arm: interval.to_dict() for arm, interval in getattr(result, name).items()}
    return told | {"grid": grid}


@in_words(critic_teams)
def _show(options: CriticTeams, told: dict[str, Any]) -> None:
    for arm in ("person", "critic", "team"):
        caught, wrong = Interval.from_dict(told["caught"][arm]), Interval.from_dict(told["false"][arm])
        print(f"{arm:<8}catches {caught}   wrong comments {wrong}")
    print(f"The simulated team {'beats' if told['beats_both'] else 'does not beat'} both.")
    for note in told["notes"]:
        print(note)
    print("Where it does (+), by how often right comments are kept (down) and wrong ones removed (across):")
    print("      " + "".join(f"{removes:>6}" for removes in GRID))
    for keeps in GRID:
        row = [cell for cell in told["grid"] if cell["keeps"] == keeps]
        print(f"{keeps:>6}" + "".join(f"{'+' if cell['beats_both'] else '-':>6}" for cell in row))


def _result(config: CriticTeams, **changes: float) -> TeamResult:
    rng = np.random.default_rng([config.seed, 1])
    caught = (rng.random(config.problems) < config.cbi).tolist()
    false = rng.poisson(config.wrong, config.problems).tolist()
    return analyse(
        simulate_reviews(replace(config.person, **changes), range(config.problems), caught, false, config.seed)
    )
