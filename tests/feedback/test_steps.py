"""Steps of an answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from custodes.feedback.kinds.step import steps_of


def test_paragraphs_are_steps_and_code_stays_whole():
    text = "First.\nStill first.\n\nRun:\n\n```\na\n\nb\n```\n\nLast."
    assert steps_of(text) == ["First.\nStill first.", "Run:", "```\na\n\nb\n```", "Last."]


def test_the_lines_of_a_single_paragraph_are_steps():
    assert steps_of("1. one\n2. two\n") == ["1. one", "2. two"]
    assert steps_of("only") == ["only"]
    assert steps_of("") == []


@given(st.text("ab`~ \n", max_size=80))
def test_nothing_but_blanks_is_lost(text):
    assert "".join("".join(steps_of(text)).split()) == "".join(text.split())
