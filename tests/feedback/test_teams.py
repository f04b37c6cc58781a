"""Teams of a person and a critic."""

from __future__ import annotations

import json

import numpy as np
import pytest

from custodes.cli import main
from custodes.feedback.teams import Person, TeamReview, _expected, analyse, simulate_reviews
from custodes.types import InputError

N = 20_000


def critic_alone(rate: float, false: float, seed: int = 1) -> tuple[list[bool], list[int]]:
    rng = np.random.default_rng(seed)
    return (rng.random(N) < rate).tolist(), rng.poisson(false, N).tolist()


@pytest.mark.parametrize("attention", [1.0, 0.4])
def test_simulation_agrees_with_the_expectation(attention: float) -> None:
    person = Person(sees=0.3, keeps=0.8, removes=0.6, own_false=0.2, attention=attention)
    caught, false = critic_alone(0.6, 1.5)
    reviews = simulate_reviews(person, range(N), caught, false)
    for arm, (chance, wrong) in _expected(person, np.array(caught, float), np.array(false, float)).items():
        mine = [r for r in reviews if r.arm == arm]
        assert np.mean([r.caught for r in mine]) == pytest.approx(chance.mean(), abs=0.015)
        assert np.mean([r.false for r in mine]) == pytest.approx(wrong.mean(), abs=0.04)


def test_a_careful_person_and_a_good_critic_beat_both() -> None:
    caught, false = critic_alone(0.6, 1.5)
    result = analyse(simulate_reviews(Person(), range(2000), caught[:2000], false[:2000]))
    assert result.beats_both
    assert result.caught["team"].n == 2000


def test_whoever_trusts_blindly_or_stops_looking_adds_nothing() -> None:
    caught, false = critic_alone(0.6, 1.5)
    lazy = Person(keeps=1.0, removes=0.0, attention=0.0)
    result = analyse(simulate_reviews(lazy, range(2000), caught[:2000], false[:2000]))
    assert result.more_caught["critic"].estimate == 0
    assert not result.beats_both


def test_several_reviews_of_a_problem_count_as_one_problem() -> None:
    once = [TeamReview(p, arm, arm == "team", 0) for p in range(5) for arm in ("person", "critic", "team")]
    assert analyse(once * 4).caught["team"].n == 5


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"sees is 1\.5"):
        Person(sees=1.5)
    with pytest.raises(InputError, match="own_false is -1"):
        Person(own_false=-1)
    with pytest.raises(InputError, match="arm is 'both'"):
        analyse([TeamReview(1, "both", True, 0)])
    with pytest.raises(InputError, match="at least 2"):
        analyse([TeamReview(1, "team", True, 0)])
    with pytest.raises(InputError, match="one each"):
        simulate_reviews(Person(), [1], [True, False], [1])


def test_the_command_says_for_whom_the_team_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["critic", "teams", "--cbi", "0.6", "--wrong", "1.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    cell = {(c["keeps"], c["removes"]): c["beats_both"] for c in told["grid"]}
    assert cell[1.0, 1.0]
    assert not cell[0.0, 0.0]
    assert told["person"]["kind"] == "simulated"
    assert main(["critic", "teams"]) == 0
    assert "beats both" in capsys.readouterr().out
    assert main(["critic", "teams", "--sees", "2"]) == 2
    assert "sees is 2" in capsys.readouterr().err


def test_two_problems_are_too_few_for_a_team_to_beat_anybody_and_that_is_said():
    reviews = [
        TeamReview(problem, arm, arm == "team", 0 if arm == "team" else 2)
        for problem in range(2)
        for arm in ("person", "critic", "team")
    ]
    found = analyse(reviews)
    assert not found.beats_both
    assert found.note == "2 pairs are too few for a test: the smallest possible p is 0.5."
    assert all(i.low < i.high for i in (*found.caught.values(), *found.more_caught.values()))
    many = analyse([TeamReview(k, r.arm, r.caught, r.false) for k in range(9) for r in reviews[:3]])
    assert many.beats_both
    assert many.note is None
