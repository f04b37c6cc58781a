"""One fit from all kinds of judgments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from custodes.cli import main
from custodes.feedback.collection import Feedback
from custodes.feedback.joint import fit_judgments
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.records import write_judgments
from custodes.types import InputError, Judgment, Message

TASKS, ANSWERS, PEOPLE = 12, 3, 6


def crowd(seed: int, *kinds: str, each: int = 200, inverted: int = -1) -> tuple[np.ndarray, list[Judgment]]:
    """Qualities (TASKS, ANSWERS), and ``each`` judgments of each kind by people who differ in where they put thresholds."""
    rng = np.random.default_rng(seed)
    q, lenient, judgments = rng.normal(size=(TASKS, ANSWERS)), rng.normal(size=PEOPLE), []
    for kind in kinds:
        for n in range(each):
            task, who, i = int(rng.integers(TASKS)), int(rng.integers(PEOPLE)), int(rng.integers(ANSWERS))
            slope = -2.0 if who == inverted else 2.0
            about = {"id": f"{kind}{n}", "annotator": f"p{who}", "task": f"t{task}", "seconds": 10.0}
            u = slope * q[task] + rng.gumbel(size=ANSWERS)
            if kind == "comparison":
                j = (i + 1 + int(rng.integers(ANSWERS - 1))) % ANSWERS
                strength = 1 if u[i] > u[j] else -1
                judgments.append(Comparison(**about, episodes=(f"{task}-{i}", f"{task}-{j}"), strength=strength))
            elif kind == "ranking":
                ranks = tuple(int(r) for r in 1 + np.argsort(np.argsort(-u)))
                judgments.append(Ranking(**about, episodes=tuple(f"{task}-{k}" for k in range(ANSWERS)), ranks=ranks))
            elif kind == "rating":
                value = int(np.clip(4 + round(slope * q[task, i] + rng.logistic() + lenient[who]), 1, 7))
                judgments.append(Rating(**about, episodes=(f"{task}-{i}",), value=value))
            else:
                yes = "yes" if slope * q[task, i] + rng.logistic() > lenient[who] else "no"
                judgments.append(Label(**about, episodes=(f"{task}-{i}",), name="acceptable", value=yes))
    return q, judgments


def correlation(q: np.ndarray, judgments: list[Judgment]) -> float:
    fitted = fit_judgments(judgments)
    truth = [q[tuple(int(part) for part in name.split("-"))] for name in fitted.episodes]
    return float(np.corrcoef(fitted.quality, truth)[0, 1])


@pytest.mark.parametrize("kind", ["comparison", "ranking", "rating", "label"])
def test_every_kind_alone_finds_the_qualities(kind: str) -> None:
    assert correlation(*crowd(1, kind)) > 0.6


def test_a_kind_that_is_added_narrows_every_interval_and_finds_more() -> None:
    q, both = crowd(2, "comparison", "rating")
    alone = [judgment for judgment in both if judgment.kind == "comparison"]
    few, more = fit_judgments(alone), fit_judgments(both)
    places = [more.episodes.index(name) for name in few.episodes]
    assert (more.se[places] < few.se).mean() > 0.9
    assert correlation(q, both) > correlation(q, alone)


def test_a_strength_that_nobody_used_changes_nothing() -> None:
    """Ties and strengths of 3 alone are the same answers as ties and strengths of 1."""
    _, judgments = crowd(3, "comparison")
    fits = []
    for strong in (1, 3):
        said = [
            replace(j, strength=strong * ((j.strength > 0) - (j.strength < 0)))
            for j in judgments
            if isinstance(j, Comparison)
        ]
        fits.append(fit_judgments(said))
    plain, found = fits
    assert found.converged
    assert np.array_equal(found.quality, plain.quality)
    assert np.array_equal(found.covariance, plain.covariance)


def test_swapping_the_sides_of_all_comparisons_changes_nothing_but_the_leaning() -> None:
    _, judgments = crowd(3, "comparison", each=80)
    turned = [
        Comparison(id=j.id, annotator=j.annotator, task=j.task, episodes=j.episodes[::-1], strength=-j.strength)
        for j in judgments
        if isinstance(j, Comparison)
    ]
    one, other = fit_judgments(judgments), fit_judgments(turned)
    places = [other.episodes.index(name) for name in one.episodes]
    np.testing.assert_allclose(other.quality[places], one.quality, atol=0.05)
    np.testing.assert_allclose(other.se[places], one.se, atol=0.05)


def test_an_annotator_who_inverts_is_found_and_not_followed() -> None:
    q, judgments = crowd(4, "comparison", "rating", inverted=0)
    fitted = fit_judgments(judgments)
    reliability = dict(zip(fitted.annotators, fitted.reliability, strict=True))
    assert reliability.pop("p0") < min(reliability.values()) - 0.3
    assert correlation(q, judgments) > 0.8


def test_an_edit_is_better_than_what_it_edits() -> None:
    edits: list[Judgment] = [
        Correction(id=f"c{n}", annotator="a", task="t", episodes=(f"e{n}",), text="better") for n in range(3)
    ]
    fitted = fit_judgments(edits)
    quality = dict(zip(fitted.episodes, fitted.quality, strict=True))
    assert all(quality[f"c{n}"] > quality[f"e{n}"] for n in range(3))


def test_nothing_to_fit_and_an_answer_against_itself_are_refused() -> None:
    _, judgments = crowd(5, "rating", each=5)
    with pytest.raises(InputError, match="no judgment on axis 'kind'"):
        fit_judgments(judgments, "kind")
    with pytest.raises(InputError, match="compares episode e with itself"):
        fit_judgments([Comparison(id="c", annotator="a", task="t", episodes=("e", "e"), strength=1)])


def test_the_command_says_what_each_kind_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feedback = Feedback()
    for n in range(8):
        prompt, answers = (Message("user", f"Say {n}."),), [(Message("assistant", text),) for text in ("yes", "no")]
        about = {"annotator": f"a{n % 2}", "seconds": 12.0}
        feedback.add(Comparison, prompt, answers, id=f"c{n}", strength=1, **about)
        for m, one in enumerate(answers):
            feedback.add(Rating, prompt, (one,), id=f"r{n}-{m}", value=6 - 3 * m, **about)
    file = write_judgments(tmp_path / "j.jsonl", feedback.judgments, feedback)
    assert main(["feedback", "qualities", "--judgments", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["judgments"] == {"comparison": 8, "rating": 16}
    assert told["nats_a_minute"]["rating"] > 0
    assert len(told["qualities"]) == 16
    assert main(["feedback", "qualities", "--judgments", str(file)]) == 0
    assert "16 ratings tell" in capsys.readouterr().out
