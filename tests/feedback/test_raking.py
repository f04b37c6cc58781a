"""Weights that match a population, and what no weights can do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custodes.feedback.raking import rake, read_margins, read_profiles
from custodes.types import InputError

PEOPLE = {f"p{n}": {"country": "DE" if n < 8 else "FR", "age": "old" if n % 3 == 0 else "young"} for n in range(12)}
MARGINS = {"country": {"DE": 0.5, "FR": 0.5}, "age": {"old": 0.2, "young": 0.8}}


def test_every_margin_is_met_and_weights_have_mean_1() -> None:
    raked = rake(PEOPLE, MARGINS)
    total = sum(raked.weights.values())
    assert total == pytest.approx(len(PEOPLE))
    for attribute, shares in MARGINS.items():
        for category, share in shares.items():
            own = sum(w for name, w in raked.weights.items() if PEOPLE[name][attribute] == category)
            assert own / total == pytest.approx(share, abs=1e-6)
    assert raked.effective * raked.design_effect == pytest.approx(len(PEOPLE))
    assert raked.effective < len(PEOPLE)


def test_margins_that_are_met_already_change_nothing() -> None:
    raked = rake(PEOPLE, {"country": {"DE": 8 / 12, "FR": 4 / 12}})
    assert list(raked.weights.values()) == pytest.approx([1.0] * 12)
    assert raked.effective == pytest.approx(12)


def test_people_of_one_cell_have_one_weight() -> None:
    weights = rake(PEOPLE, MARGINS).weights
    cells: dict[tuple[str, str], set[float]] = {}
    for name, profile in PEOPLE.items():
        cells.setdefault((profile["country"], profile["age"]), set()).add(round(weights[name], 9))
    assert all(len(found) == 1 for found in cells.values())


def test_a_raked_mean_is_nearer_to_the_population_than_the_plain_one() -> None:
    """In 200 samples of 60 people, of whom one group answers too seldom."""
    rng, raked_error, plain_error = np.random.default_rng(0), [], []
    for _ in range(200):
        group = rng.random(60) < 0.25  # half of the population
        answer = np.where(group, 0.8, 0.3) + rng.normal(0, 0.1, 60)
        people = {str(n): {"group": str(g)} for n, g in enumerate(group)}
        weights = np.array(list(rake(people, {"group": {"True": 0.5, "False": 0.5}}).weights.values()))
        raked_error.append(abs((weights * answer).mean() - 0.55))
        plain_error.append(abs(answer.mean() - 0.55))
    assert np.mean(raked_error) < 0.3 * np.mean(plain_error)


@pytest.mark.parametrize(
    ("margins", "sentence"),
    [
        ({"country": {"DE": 0.5, "FR": 0.2, "PL": 0.3}}, "no annotator is 'PL', 30% of the population"),
        ({"country": {"DE": 1.0}}, "that of annotator 'p8' is 'FR', which has no share"),
        ({"income": {"low": 0.5, "high": 0.5}}, "that of annotator 'p0' is not known"),
        ({"country": {"DE": 0.5, "FR": 0.6}}, "shares sum to 1.1"),
        ({"country": {"DE": 1.5, "FR": -0.5}}, "they must be 0 or more"),
        ({"country": {"DE": 1.0, "FR": 0.0}}, "'FR' has share 0 and annotators"),
    ],
)
def test_margins_that_nobody_can_match_are_one_sentence(margins: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        rake(PEOPLE, margins, "population.yaml")


def test_margins_that_contradict_each_other_are_refused() -> None:
    people = {"a": {"x": "1", "y": "1"}, "b": {"x": "2", "y": "2"}}
    with pytest.raises(InputError, match="no weights meet all margins at once"):
        rake(people, {"x": {"1": 0.5, "2": 0.5}, "y": {"1": 0.9, "2": 0.1}})


def test_files_are_read_or_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "population.yaml").write_text("country: {DE: 0.4, FR: 0.6}\nage: {18: 1.0}\n")
    assert read_margins(tmp_path / "population.yaml") == {"country": {"DE": 0.4, "FR": 0.6}, "age": {"18": 1.0}}
    (tmp_path / "people.csv").write_text("annotator,country\nanna,DE\nben,FR\n")
    assert read_profiles(tmp_path / "people.csv") == {"anna": {"country": "DE"}, "ben": {"country": "FR"}}
    (tmp_path / "twice.csv").write_text("annotator,country\nanna,DE\nanna,FR\n")
    with pytest.raises(InputError, match="row 3: annotator 'anna' stands in an earlier row too"):
        read_profiles(tmp_path / "twice.csv")
    for text in ("", "country: DE", "country: {DE: half}", "{"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InputError, match="bad"):
            read_margins(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="cannot be read as YAML"):
        read_margins(tmp_path / "none.yaml")
