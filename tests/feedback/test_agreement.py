"""Agreement with each other and with oneself."""

import math

import numpy as np
import pytest
from judged_world import make_world

from custodes.feedback import (
    agreement,
    agreement_by_group,
    agreement_on_labels,
    agreement_on_ratings,
    repeat_consistency,
)
from custodes.types import Annotator, Comparison, Label, Rating


def said(annotator: str, pair: tuple[str, str], strength: int, n: int = 0) -> Comparison:
    verdict = "prefer" if strength else "tie"
    id_ = f"{annotator}{pair}{n}"
    return Comparison(id=id_, annotator=annotator, task="t", episodes=pair, verdict=verdict, strength=strength)


PAIRS = [(f"x{n}", f"y{n}") for n in range(30)]


def test_perfect_agreement_is_one_whatever_order_was_shown() -> None:
    rng = np.random.default_rng(0)
    judgments = []
    for pair in PAIRS:
        strength = int(rng.choice([-3, -1, 1, 2]))
        judgments += [said("a", pair, strength), said("b", pair[::-1], -strength)]
    for level in ("ordinal", "nominal"):
        found = agreement(judgments, level)
        assert found.alpha.estimate == pytest.approx(1)
        assert (found.items, found.judgments) == (30, 60)


def test_random_answers_agree_as_chance_does() -> None:
    world = make_world(0, {"random": 8})
    alpha = agreement(world.judgments).alpha
    assert alpha.low < 0 < alpha.high
    assert alpha.low < alpha.estimate < alpha.high


def test_published_example() -> None:
    """Krippendorff (2011), example C: 4 observers, 12 units, ordinal alpha 0.815 (values 1..5)."""
    rows = ["123321412***", "1233224125*3", "*3332342251*", "12332441251*"]
    judgments = [
        said(f"o{k}", PAIRS[unit], int(value) - 3)
        for k, row in enumerate(rows)
        for unit, value in enumerate(row)
        if value != "*"
    ]
    assert agreement(judgments, "ordinal", resamples=99).alpha.estimate == pytest.approx(0.815, abs=1e-3)


def test_experts_agree_more_than_the_hasty() -> None:
    world = make_world(1, {"expert": 6, "hasty": 6})
    groups = agreement_by_group(world.judgments, [p.annotator for p in world.people], "nature")
    assert groups.keys() == {"expert", "hasty"}
    assert groups["expert"].alpha.low > groups["hasty"].alpha.estimate


def test_nothing_shared_is_no_estimate() -> None:
    found = agreement([said("a", PAIRS[0], 1), said("b", PAIRS[1], 1)])
    assert math.isnan(found.alpha.estimate)
    assert found.items == 0
    unanimous = agreement([said(k, pair, 1) for k in "ab" for pair in PAIRS], resamples=99)
    assert math.isnan(unanimous.alpha.estimate)
    assert agreement_by_group([], [Annotator("a", "human")], "team") == {}


def test_consistency_counts_second_looks() -> None:
    judgments = [
        said("a", PAIRS[0], 2),
        said("a", PAIRS[0][::-1], -1, 1),  # the same choice, shown the other way round
        said("a", PAIRS[1], 1),
        said("a", PAIRS[1], -1, 1),
        said("b", PAIRS[0], 1),
    ]
    found = repeat_consistency(judgments)
    assert (found.overall.estimate, found.overall.n) == (0.5, 2)
    assert found.annotators.keys() == {"a"}
    assert found.overall.low < 0.5 < found.overall.high


def test_experts_repeat_themselves() -> None:
    world = make_world(2, {"expert": 3, "random": 3}, each=5)
    again = [
        person.compare(j_task, *pair, (world.gold[pair[0].id], world.gold[pair[1].id]), repeat)
        for person in world.people
        for j_task in world.tasks
        for pair in [[e for e in world.episodes.values() if e.task is j_task][:2]]
        for repeat in range(20)
    ]
    found = repeat_consistency(again).annotators
    for n in (1, 2, 3):
        assert found[f"expert-0{n}"].estimate > found["random-01"].estimate


def test_ratings_and_labels_agree_or_not_as_comparisons_do() -> None:
    rng = np.random.default_rng(0)

    def both(a: int, b: int, n: int) -> list[Rating | Label]:
        made: list[Rating | Label] = []
        for who, value in (("a", a), ("b", b)):
            about = {"id": f"{who}{n}", "annotator": who, "task": "t", "episodes": (f"e{n}",)}
            made += [Rating(**about, value=value), Label(**about, name="ok", value=f"v{value % 3}")]
        return made

    same = [j for n, value in enumerate(rng.integers(1, 8, 40)) for j in both(int(value), int(value), n)]
    chance = [j for n in range(200) for j in both(int(rng.integers(1, 8)), int(rng.integers(1, 8)), n)]
    for found in (agreement_on_ratings(same), agreement_on_labels(same, "ok")):
        assert found.alpha.estimate == pytest.approx(1)
        assert (found.items, found.judgments) == (40, 80)
    for found in (agreement_on_ratings(chance, resamples=199), agreement_on_labels(chance, "ok", resamples=199)):
        assert found.alpha.low < 0.1
        assert abs(found.alpha.estimate) < 0.2
    assert agreement_on_ratings(same, axis="other").items == 0
