"""The annotator model on crowds that misled it: sparse, of few, biased alike, repeating themselves, unconnected."""

import csv
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from judged_world import make_episode, make_task
from numpy.typing import NDArray

from custodes.feedback.annotator_model import AnnotatorModel, fit_annotators, fit_comparisons
from custodes.feedback.bradley_terry import Comparisons, fit
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.labels import fit_comparison_file
from custodes.feedback.ranking import bootstrap, standings
from custodes.types import InputError


def tasks_of_four(
    seed: int, reliability: NDArray[np.float64], tasks: int, lengths: float | None = None
) -> tuple[Comparisons, NDArray[np.float64]]:
    """Every pair of four answers judged by three people; log-length correlates with quality by ``lengths``."""
    rng = np.random.default_rng(seed)
    low, high = np.triu_indices(4, 1)
    one, other = ((np.arange(tasks)[:, None] * 4 + side).ravel() for side in (low, high))
    people = len(reliability)
    turn = np.concatenate([rng.permutation(people) for _ in range(-(-3 * len(one) // people) + 1)])
    k, first, second = turn[: 3 * len(one)], np.repeat(one, 3), np.repeat(other, 3)
    swap = rng.random(len(first)) < 0.5
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    quality = rng.normal(size=4 * tasks)
    noise = rng.normal(size=4 * tasks)
    length = np.zeros(len(first))
    if lengths is not None:
        log_length = lengths * quality + np.sqrt(1 - lengths**2) * noise
        length = log_length[first] - log_length[second]
        length /= length.std()
    u = reliability[k] * (quality[first] - quality[second]) + rng.logistic(size=len(k))
    strength = np.where(u > 0, 1, -1)
    return Comparisons(first, second, k, strength, length, 4 * tasks, people), quality


def pairs_right(data: Comparisons, difference: NDArray[np.float64], quality: NDArray[np.float64]) -> float:
    """Share of distinct pairs of which ``difference`` (N,) points to the better one; half where it is 0."""
    _, at = np.unique(np.minimum(data.first, data.second) * data.items + np.maximum(data.first, data.second), True)
    true = (quality[data.first] - quality[data.second])[at]
    return float(np.mean((1 + np.sign(difference[at] * true)) / 2))


def majority(data: Comparisons) -> NDArray[np.float64]:
    code = np.minimum(data.first, data.second) * data.items + np.maximum(data.first, data.second)
    _, pair = np.unique(code, return_inverse=True)
    turn = np.where(data.first < data.second, 1, -1)
    return turn * np.bincount(pair, data.strength * turn)[pair]


def written(path: Path, rows: Iterable[tuple[str, ...]], header: str = "worker,left,right,label") -> Path:
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([header.split(","), *rows])
    return path


def arena(seed: int, battles: int = 3000, models: int = 20) -> tuple[Comparisons, NDArray[np.float64]]:
    """Two votes a person on models .15 logits apart."""
    rng = np.random.default_rng(seed)
    quality = 0.15 * (np.arange(models) - (models - 1) / 2)
    first = rng.integers(0, models, battles)
    second = (first + rng.integers(1, models, battles)) % models
    strength = np.where(quality[first] - quality[second] + rng.logistic(size=battles) > 0, 1, -1)
    person = np.repeat(np.arange(battles // 2), 2)
    return Comparisons(first, second, person, strength, np.zeros(battles), models, battles // 2), quality


def model_of(data: Comparisons) -> AnnotatorModel:
    people, items = (tuple(map(str, range(n))) for n in (data.annotators, data.items))
    return fit_comparisons(data, people, items, tuple(map(str, range(len(data.first)))))


def test_two_votes_a_person_give_qualities_on_the_true_scale() -> None:
    slopes, inside = [], []
    for seed in range(3):
        data, quality = arena(seed)
        model = model_of(data)
        assert model.fit.converged
        assert (np.abs(model.reliability) < 2).all()  # shrunk to the crowd's
        slopes.append(model.quality @ quality / (quality @ quality))
        ranked = {s.item: s for s in standings(model)}
        inside += [ranked[str(i)].low < q < ranked[str(i)].high for i, q in enumerate(quality)]
    assert 0.93 < np.mean(slopes) < 1.1
    assert np.mean(inside) > 0.85


@pytest.mark.parametrize("seed", range(4))
def test_nobody_takes_over_an_honest_team(seed: int) -> None:
    reliability = np.random.default_rng(seed).uniform(0.5, 1.7, 10)
    data, _ = tasks_of_four(seed, reliability, 300)
    fitted = fit(data).theta[:, 0]
    assert np.abs(fitted - reliability / np.sqrt(np.mean(reliability**2))).max() < 0.6


def crowd(rng: np.random.Generator, people: int, gaussian: bool, strangers: bool) -> NDArray[np.float64]:
    a = 1.5 * (rng.normal(1, 0.5, people) if gaussian else np.exp(rng.normal(0, 0.5, people)))
    if strangers:
        a[: round(0.3 * people)] = 0
        a[round(0.3 * people) : round(0.4 * people)] *= -1
    return a


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("strangers", [False, True])
def test_reliability_intervals_cover_and_labels_are_no_worse_than_the_vote(gaussian: bool, strangers: bool) -> None:
    inside, right, vote = [], [], []
    for seed in range(12):
        reliability = crowd(np.random.default_rng([seed, 5]), 20, gaussian, strangers)
        data, quality = tasks_of_four(seed, reliability, 44)
        fitted = fit(data)
        true = reliability / np.sqrt(np.mean(reliability**2))
        inside.append((fitted.interval[:, 0] < true) & (true < fitted.interval[:, 1]))
        right.append(pairs_right(data, fitted.difference, quality))
        vote.append(pairs_right(data, majority(data), quality))
    assert np.mean(inside) > 0.9
    assert np.mean(right) > np.mean(vote)


@pytest.mark.parametrize("correlation", [0.3, 0.5, 0.8])
def test_lengths_that_go_with_quality_cost_no_labels_and_accuse_nobody(correlation: float) -> None:
    without, given, accused = [], [], []
    for seed in range(4):
        reliability = np.random.default_rng([seed, 6]).uniform(1, 2, 20)
        data, quality = tasks_of_four(seed, reliability, 60, lengths=correlation)
        plain = Comparisons(data.first, data.second, data.annotator, data.strength, 0 * data.length, data.items, 20)
        fitted = fit(data)
        given.append(pairs_right(data, fitted.difference, quality))
        without.append(pairs_right(data, fit(plain).difference, quality))
        accused.append(np.abs(fitted.theta[:, 2]) > 1.96 * fitted.se[:, 2])
    assert np.mean(given) > np.mean(without) - 0.01
    assert np.mean(accused) < 0.08


def test_a_length_preference_that_all_share_is_told_as_bias_or_quality() -> None:
    data, _ = tasks_of_four(1, np.full(20, 1.5), 60, lengths=0.8)
    people, items, rows = (tuple(map(str, range(n))) for n in (20, data.items, len(data.first)))
    model = fit_comparisons(data, people, items, rows, length_unit=1.0)
    assert model.shared_length is not None
    assert model.shared_length.estimate > 4 * model.shared_length.se
    assert any("bias or quality is unknown" in note for note in model.notes)


def test_style_control_finds_what_style_adds_and_says_what_it_cannot() -> None:
    rng = np.random.default_rng(0)
    data, quality = arena(4)
    style = rng.normal(size=(len(data.first), 1))
    u = quality[data.first] - quality[data.second] + 0.8 * style[:, 0] + rng.logistic(size=len(style))
    data = Comparisons(
        data.first, data.second, data.annotator, np.where(u > 0, 1, -1), data.length, 20, data.annotators, style
    )
    names = (tuple(map(str, range(data.annotators))), tuple(map(str, range(20))), tuple(map(str, range(len(u)))))
    model = fit_comparisons(data, *names, style=("length",))
    (effect,) = model.style
    assert abs(effect.estimate - 0.8) < 4 * effect.se < 0.5
    assert abs(model.quality @ quality / (quality @ quality) - 1) < 0.15
    assert any("whether it is" in note for note in model.notes)


def rows_of_models(count: int, seed: int = 0) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        i, j = rng.choice(4, 2, replace=False)
        winner = i if 0.4 * (i - j) + rng.logistic() > 0 else j
        rows.append((f"p{n % 4}", *(f"model {x}" for x in (i, j, winner))))
    return rows


def test_errors_of_differences_fall_with_the_root_of_the_count(tmp_path: Path) -> None:
    rows = rows_of_models(240)
    few, many = (standings(fit_comparison_file(written(tmp_path / f"{n}.csv", rows * n))) for n in (1, 10))
    ratio = np.mean([s.se for s in few]) / np.mean([s.se for s in many])
    assert 2.3 < ratio < 4.2
    assert all(s.rank_low <= s.rank <= s.rank_high for s in few + many)
    assert sum(s.rank_high - s.rank_low for s in many) < sum(s.rank_high - s.rank_low for s in few)
    named = standings(fit_comparison_file(tmp_path / "1.csv"), reference="model 2")
    assert next(s for s in named if s.item == "model 2").se == 0
    with pytest.raises(InputError, match="none of the 4 items"):
        standings(fit_comparison_file(tmp_path / "1.csv"), reference="model 9")


def test_an_annotator_has_one_vote_on_a_pair(tmp_path: Path) -> None:
    """One person's rows three times: the labels stay, and the repeats are told."""
    rng, rows = np.random.default_rng(3), []
    for task in range(60):
        for person in range(5):
            good, bad = f"t{task}-a", f"t{task}-b"
            rows.append((f"p{person}", good, bad, bad if person == 0 or rng.random() < 0.15 else good))
    own = [row for row in rows if row[0] == "p0"]
    once, thrice = (
        fit_comparison_file(written(tmp_path / f"{name}.csv", some))
        for name, some in (("once", rows), ("thrice", rows + own + own))
    )
    assert thrice.repeats == 120
    assert np.allclose(once.quality, thrice.quality)
    assert any("120 comparisons repeat" in note for note in thrice.notes)
    tasked = written(tmp_path / "task.csv", [(*r, "same") for r in rows + own], "worker,left,right,label,task")
    assert fit_comparison_file(tasked).repeats == 60


def test_repeated_judgments_count_once() -> None:
    def said(n: int, person: str, one: str, other: str) -> Comparison:
        return Comparison(id=f"c{n}", annotator=person, task="t", episodes=(one, other), strength=1)

    judgments = [said(0, "a", "x", "y"), said(1, "b", "x", "y"), said(2, "a", "y", "x")]
    model = fit_annotators(judgments)
    assert model.judgments == ("c0", "c1")
    assert model.repeats == 1


def test_groups_that_nothing_connects_are_ranked_apart(tmp_path: Path) -> None:
    rows = [(f"p{n % 3}", *pair, pair[0]) for n, pair in enumerate([*combinations("abcd", 2), *combinations("xyz", 2)])]
    model = fit_comparison_file(written(tmp_path / "c.csv", rows * 2))
    ranked = standings(model)
    assert [s.group for s in ranked] == [0] * 4 + [1] * 3
    assert [s.rank for s in ranked] == [1, 2, 3, 4, 1, 2, 3]
    assert any("2 groups" in note for note in model.notes)


def test_no_overlap_and_no_convergence_are_told() -> None:
    alone = Comparisons(*(np.array(c) for c in ([0, 2], [1, 3], [0, 1], [1, 1])), np.zeros(2), 4, 2)
    assert any("Nothing overlaps" in note for note in model_of(alone).notes)
    data, _ = tasks_of_four(0, np.ones(6), 10)
    assert not fit(data, rounds=2).converged


def test_plain_bradley_terry_believes_all_alike(tmp_path: Path) -> None:
    model = fit_comparison_file(written(tmp_path / "c.csv", rows_of_models(400)), method="bradley-terry")
    assert (model.reliability == 1).all()
    assert (model.position == 0).all()
    assert [s.item for s in standings(model)] == [f"model {x}" for x in (3, 2, 1, 0)]


def test_bootstrap_over_annotators_has_wider_errors_where_annotators_differ(tmp_path: Path) -> None:
    rows = [(f"q{n % 12}", *row[1:]) for n, row in enumerate(rows_of_models(360))]
    model = fit_comparison_file(written(tmp_path / "c.csv", rows))
    drawn = {s.item: s for s in bootstrap(model, draws=30)}
    for s in standings(model):
        assert 0.4 < drawn[s.item].se / s.se < 2.5
    with pytest.raises(InputError, match="at least 2"):
        bootstrap(model, draws=1)


def test_a_measure_that_is_no_count_is_refused_by_row(tmp_path: Path) -> None:
    header = "worker,left,right,label,left_length,right_length"
    path = written(tmp_path / "c.csv", [("p", "a", "b", "a", "10", "many")], header)
    with pytest.raises(InputError, match=r"row 2, column 'right_length': 'many'"):
        fit_comparison_file(path, style=("length",))


def test_what_is_stated_is_set_beside_known_truths() -> None:
    data, quality = tasks_of_four(2, np.full(6, 1.5), 20)
    model = model_of(data)
    pairs = {
        tuple(sorted((str(i), str(j)))): str(i if quality[i] > quality[j] else j)
        for i, j in zip(data.first.tolist(), data.second.tolist(), strict=True)
    }
    found = model.realised(pairs)
    assert found.right.n == len(pairs)
    assert abs(found.stated - found.right.estimate) < 0.12
    with pytest.raises(InputError, match="do the names agree"):
        model.realised({("x", "y"): "x"})


def test_one_comparison_says_nothing_of_length() -> None:
    task = make_task("t", "q")
    episodes = [make_episode("x", task, "a long answer indeed"), make_episode("y", task, "short")]
    judgment = Comparison(id="c", annotator="a", task="t", episodes=("x", "y"), strength=1)
    found = fit_annotators([judgment], episodes).of("a")
    assert abs(found.length) < 0.3 < 1.96 * found.length_se
    assert found.reliability_low < 0 < found.reliability_high


def test_markdown_and_length_can_be_controlled_where_texts_are_known() -> None:
    rng, task = np.random.default_rng(2), make_task("t", "q")
    texts = ["- a point\n" * int(rng.integers(0, 9)) + "words " * int(rng.integers(1, 60)) for _ in range(40)]
    episodes = [make_episode(f"e{n}", task, text) for n, text in enumerate(texts)]
    judgments = []
    for n in range(600):
        i, j = rng.choice(40, 2, replace=False)
        u = 2 * (np.log1p(texts[i].count("- ")) - np.log1p(texts[j].count("- "))) + rng.logistic()
        answer = {"strength": 1 if u > 0 else -1}
        judgments.append(
            Comparison(id=f"c{n}", annotator=f"p{n % 20}", task="t", episodes=(f"e{i}", f"e{j}"), **answer)
        )
    model = fit_annotators(judgments, episodes, style=("length", "markdown"))
    effects = {effect.name: effect for effect in model.style}
    assert effects["markdown"].estimate > 3 * effects["markdown"].se
    assert abs(effects["length"].estimate) < 3 * effects["length"].se
    with pytest.raises(InputError, match="give the episodes too"):
        fit_annotators(judgments, style=("length",))
