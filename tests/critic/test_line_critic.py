"""A scorer of lines as a critic: what it reports, with what confidence, and who says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_data import CODE, INJECTIONS
from scored_lines import WordScorer

from custodes.critic.lines import LineScores
from custodes.critic.review.commentator import Commentator
from custodes.critic.review.critics import LineCritic, _at_margin, _evidence
from custodes.critic.review.findings import Reviewed
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.question import SUSPICIOUS
from custodes.critic.review.snippets import Snippet
from custodes.feedback.critique import Place
from custodes.lm.loading import load

METHOD = Snippet("f.py", 15, "    def grow(self, by):\n        self.size -= by\n        return self.size", "Box.grow")


@pytest.fixture(scope="module")
def commentator(tiny_model: Path) -> Commentator:
    return Commentator(load(tiny_model, dtype="float32"), tokens=6)


def shown_at(strictness: float, scorer: WordScorer, commentator: Commentator | None = None) -> list[Reviewed]:
    """What of the method's findings a review shows."""
    critic = LineCritic(scorer, "word", commentator)
    return review(["f.py"], critic, ReviewOptions(strictness=strictness), texts={"f.py": METHOD.code}).findings


def test_the_likeliest_line_is_quoted_where_it_stands_with_the_scorers_probability():
    critic = LineCritic(WordScorer({"-=": 0.7, "return": 0.1}, {"-=": "The sign is wrong."}), "word")
    remark, other = critic.review(METHOD)
    assert other.score < 0
    assert remark.finding.quote == "        self.size -= by"
    assert remark.finding.comment == "The sign is wrong."
    assert remark.places == (Place(16, 16),)
    assert remark.confidence == pytest.approx(0.7)
    assert remark.score >= 0


def test_a_method_is_scored_at_the_left_margin_as_scorers_have_seen_functions():
    scorer = WordScorer({"-=": 0.7})
    LineCritic(scorer, "word").review(METHOD)
    assert scorer.asked == ["def grow(self, by):\n    self.size -= by\n    return self.size\n"]
    assert _at_margin("a\n  b") == "a\n  b"
    assert _at_margin("  a\nb\n    c") == "a\nb\n  c"


def test_strictness_moves_the_threshold():
    scorer = WordScorer({"-=": 0.3})
    (remark,) = LineCritic(scorer, "word").review(METHOD)
    assert -0.9 <= remark.score < -0.8  # logit of 0.3 below the threshold of 0.5
    for strictness, shown in ((0.0, 0), (0.8, 0), (0.9, 1)):
        assert len(shown_at(strictness, scorer)) == shown
    scorer.threshold = 0.2
    assert len(shown_at(0.0, scorer)) == 1
    assert shown_at(-1.0, scorer) == []


def test_lines_less_than_half_as_likely_need_more_strictness():
    scorer = WordScorer({"-=": 0.6, "return": 0.2})
    assert len(shown_at(0.0, scorer)) == 1
    assert len(shown_at(0.5, scorer)) == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0, 1), st.floats(0.01, 0.99))
def test_at_strictness_0_exactly_what_the_scorer_would_report_is_reported(
    weights: list[float], none: float, threshold: float
):
    total = sum(weights) + none
    if not total:
        return
    scores = LineScores(np.array(weights) / total, none / total)
    most = len(weights)
    shown = {line for line in range(1, most + 1) if _evidence(scores, line, threshold) >= 0}
    assert shown == set(scores.found(threshold, most))


def test_a_threshold_just_above_a_probability_keeps_it_out():
    scores = LineScores(np.array([0.75]), 0.25)
    assert _evidence(scores, 1, 0.75) >= 0
    assert _evidence(scores, 1, float(np.nextafter(0.75, 2))) < 0


def test_a_text_that_occurs_twice_is_one_finding_whose_first_place_is_the_likelier():
    class Second(WordScorer):
        def _one(self, lines: list[str]) -> LineScores:
            return LineScores(np.array([0.0, 0.2, 0.0, 0.6, 0.0, 0.0]), 0.2)

    code = "def f(x):\n    y = x - 1\n    g(y)\n    y = x - 1\n    return y"
    (remark,) = LineCritic(Second({}), "second").review(Snippet("f.py", 1, code, "f"))
    assert remark.places == (Place(4, 4), Place(2, 2))
    assert remark.confidence == pytest.approx(0.8)


def test_where_the_scorer_cannot_say_a_model_made_to_quote_the_line_writes(commentator: Commentator):
    scorer = WordScorer({"-=": 0.4, "return": 0.4}, {"return": "Returns too early."})
    said = {f.quote.strip(): f.message for f in shown_at(0.0, scorer, commentator)}
    assert said["return self.size"] == "Returns too early."
    assert said["self.size -= by"] == commentator.on(METHOD, ["        self.size -= by"])[0]
    assert {r.finding.comment for r in LineCritic(WordScorer({"-=": 0.9}), "w").review(METHOD)} == {SUSPICIOUS}


def test_a_comment_is_written_on_code_of_any_length(commentator: Commentator):
    long = "\n".join(f"value_{i} = {i}" for i in range(60))
    critic = LineCritic(WordScorer({"value_57 ": 0.9}), "w", commentator)
    snippet = Snippet("f.py", 1, long, "module")
    (remark,) = critic.review(snippet)
    assert remark.places == (Place(58, 58),)
    assert critic.comments(snippet, [remark.finding.quote])[0]
    huge = Snippet("f.py", 1, "x" * 5000, "module")
    assert critic.comments(huge, [huge.code]) == [SUSPICIOUS]  # nothing of the line would fit beside a comment


def test_the_cache_tells_scorers_limits_and_writers_apart(commentator: Commentator):
    scorer = WordScorer({})
    critics = [
        LineCritic(scorer, "a"),
        LineCritic(scorer, "b"),
        LineCritic(scorer, "a", commentator),
        LineCritic(WordScorer({}, threshold=0.6), "a"),
    ]
    assert len({critic.fingerprint for critic in critics}) == len(critics)


def test_a_whole_file_is_reviewed_with_its_own_line_numbers(tmp_path: Path):
    (tmp_path / "code.py").write_bytes(CODE.replace("    ", "\t").replace("\n", "\r\n").encode())
    critic = LineCritic(WordScorer({"-=": 0.9, "- 1": 0.6}, {"-": "A minus."}), "w")
    found = review([str(tmp_path / "code.py")], critic, ReviewOptions()).findings
    assert [(f.line, f.confidence, f.message) for f in found] == [(16, 0.9, "A minus."), (7, 0.6, "A minus.")]


@pytest.mark.parametrize("text", INJECTIONS)
def test_reviewed_code_cannot_give_orders_to_it(commentator: Commentator, text: str, tmp_path: Path):
    (tmp_path / "f.py").write_text(f"{text}\nvalue = 3 - 1\n")
    forged = f"\x1b[2J{text}\u202e\n::error::x"
    scorer = WordScorer({"- 1": 0.8}, {"- 1": forged})
    (finding,) = review([str(tmp_path / "f.py")], LineCritic(scorer, "w"), ReviewOptions()).findings
    assert finding.quote == "value = 3 - 1"
    assert not set(finding.message) & {"\x1b", "\n", "\u202e"}
    careful = WordScorer({})
    LineCritic(careful, "w", commentator).review(Snippet("f.py", 1, text, "module"))
    assert not any(word in code for code in careful.asked for word in commentator.words)
    wild = WordScorer({line: 0.9 / len(text.split("\n")) for line in text.split("\n") if line.strip()})
    lines = f"{text}\nvalue = 3 - 1\n".split("\n")
    for found in review(
        [str(tmp_path / "f.py")], LineCritic(wild, "w", commentator), ReviewOptions(strictness=9)
    ).findings:
        assert found.quote in lines
        assert lines[found.line - 1] == found.quote
        assert 0 <= found.confidence <= 1
        assert not set(found.message) & {"\x1b", "\n", "\u202e"}
