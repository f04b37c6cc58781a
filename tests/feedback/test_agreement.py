"""Agreement with each other and with oneself."""

import math

import numpy as np
import pytest
from judged_world import make_world

from custodes.feedback.agreement import (
    agreement,
    agreement_by_group,
    agreement_in,
    agreement_on_labels,
    agreement_on_ratings,
    repeat_consistency,
)
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.labels import label_table
from custodes.types import Annotator


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
    assert agreement(judgments, "ordinal").alpha.estimate == pytest.approx(0.815, abs=1e-3)


def test_experts_agree_more_than_the_hasty() -> None:
    world = make_world(1, {"expert": 6, "hasty": 6})
    groups = agreement_by_group(world.judgments, [p.annotator for p in world.people], "nature")
    assert groups.keys() == {"expert", "hasty"}
    assert groups["expert"].alpha.low > groups["hasty"].alpha.estimate


def test_nothing_shared_is_no_estimate() -> None:
    found = agreement([said("a", PAIRS[0], 1), said("b", PAIRS[1], 1)])
    assert math.isnan(found.alpha.estimate)
    assert found.items == 0
    unanimous = agreement([said(k, pair, 1) for k in "ab" for pair in PAIRS])
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
    for found in (agreement_on_ratings(chance), agreement_on_labels(chance, "ok")):
        assert found.alpha.low < 0.1
        assert abs(found.alpha.estimate) < 0.2
    assert agreement_on_ratings(same, axis="other").items == 0


def test_a_few_items_have_no_interval_of_alpha_and_say_so() -> None:
    for strengths in ((1, 1), (1, -1)):  # all agree, nobody agrees
        few = agreement(
            [said(k, PAIRS[i], s * (-1) ** i) for k, s in zip("ab", strengths, strict=True) for i in (0, 1)]
        )
        assert few.alpha.to_dict()["low"] is few.alpha.to_dict()["high"] is None
        assert few.note == "2 items were judged by two or more annotators; below 10 there is no interval."


def test_full_agreement_leaves_a_doubt() -> None:
    full = agreement([said(k, pair, (-1) ** i) for k in "ab" for i, pair in enumerate(PAIRS[:12])])
    assert full.alpha.estimate == full.alpha.high == pytest.approx(1)
    assert 0 < full.alpha.low < 0.95
    assert full.note is None


def of_two(answers: list[tuple]) -> list:
    """The agreement of two people, a and b, who labelled the same tasks."""
    tasks = np.repeat(np.arange(len(answers)), 2)
    return agreement_in(label_table(tasks, ["a", "b"] * len(answers), [one for pair in answers for one in pair])).pairs


def test_kappa_and_ac1_of_a_pair_are_the_published_ones() -> None:
    """Gwet (2008), table 1 as printed there: 125 items, 118 both "+", 5 and 2 discordant, none both "-"."""
    answers = [("+", "+")] * 118 + [("+", "-")] * 5 + [("-", "+")] * 2
    (found,) = of_two(answers)
    assert (found.first, found.second, found.items) == ("a", "b", 125)
    assert found.share.estimate == pytest.approx(0.944)
    assert found.kappa.estimate == pytest.approx(-0.0234, abs=1e-3)
    assert found.ac1.estimate == pytest.approx(0.9408, abs=1e-3)
    assert found.ac1.low < 0.9408 < found.ac1.high


def test_intervals_of_alpha_kappa_and_ac1_cover() -> None:
    rng = np.random.default_rng(0)
    noise, prevalence = 0.15, 0.6  # each of two people errs so often: what is true of each statistic follows
    same = noise**2 + (1 - noise) ** 2
    plus = prevalence * (1 - noise) + (1 - prevalence) * noise
    chance = plus**2 + (1 - plus) ** 2
    truth = {
        "kappa": (same - chance) / (1 - chance),
        "ac1": (same - (1 - chance)) / chance,
        "alpha": (same - chance) / (1 - chance),
    }
    held: dict[str, list[bool]] = {name: [] for name in truth}
    for _ in range(60):
        true = rng.random(20) < prevalence
        a, b = (true ^ (rng.random(20) < noise) for _ in range(2))
        (pair,) = of_two(list(zip(a.tolist(), b.tolist(), strict=True)))
        alpha = agreement(
            [said(k, PAIRS[i], 1 if x[i] else -1) for k, x in zip("ab", (a, b), strict=True) for i in range(12)]
        )
        for name, found in (("kappa", pair.kappa), ("ac1", pair.ac1), ("alpha", alpha.alpha)):
            held[name].append(found.low <= truth[name] <= found.high or math.isnan(found.estimate))
    assert all(np.mean(oks) > 0.88 for oks in held.values()), held
