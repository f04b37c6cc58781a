import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.environments.checks import CHECKS, _sentences, is_answer, run_checks, words

# ---------------------------------------------------------------- reading a text


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("one two  three\nfour", 4),
        ("Don't use well-known words.", 4),
        ("It’s l’été à São Paulo — déjà!", 6),
        ("- first\n* second\n1. third", 3),
        ("👍 ok 👍", 1),
        ("snake_case here", 3),
        ("日本語 テキスト", 2),
    ],
)
def test_words(text, n):
    assert len(words(text)) == n


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("...", 0),
        ("Bread is old", 1),
        ("Bread is old. It is good!", 2),
        ("the sun is hot. it is big.", 2),
        ("Dr. Ray met Mrs. Lee. They spoke.", 2),
        ("Pi is 3.14. That is all.", 2),
        ("J. S. Bach wrote fugues. He was German.", 2),
        ("We eat fruit, e.g. apples. We drink milk, tea, etc. and more.", 2),
        ("He ate bread, cheese, etc. Then he left.", 2),
        ("Wake at 6 a.m. every day.", 1),
        ("She is taller than I. He knows.", 2),
        ("Wait... what?! Yes.", 3),
        ("“Is it far?” he asked. No.", 3),
        ("She said (twice.) Then she left.", 2),
        ("Title line\nA sentence below it.", 2),
        ("1. Boil water.\n2. Add the tea.", 2),
        ("It costs $4.50 at example.com today.", 1),
        ("Really?\n\nReally.", 2),
    ],
)
def test_sentences(text, n):
    assert len(_sentences(text)) == n


plain = st.lists(st.sampled_from(["bread", "wheat", "is", "old", "über", "don't"]), min_size=2, max_size=6).map(
    " ".join
)


@given(st.lists(st.tuples(plain, st.sampled_from([".", "!", "?", "..."])), min_size=1, max_size=5))
def test_sentences_written_one_after_another_are_counted(written):
    text = " ".join(body.capitalize() + mark for body, mark in written)
    assert CHECKS["exact_sentences"](text, len(written))
    assert not CHECKS["exact_sentences"](text + " And then", len(written) + 1)  # cut off


@given(st.text())
def test_sentences_lose_no_word_and_no_text_breaks_a_check(text):
    counted = sum(len(words(s)) for s in _sentences(text))
    assert counted <= len(words(text))
    for check in [{"name": "max_words", "n": 3}, {"name": "json_keys", "keys": ["a"]}, {"name": "lower_case"}]:
        run_checks([check], text)
    is_answer(text, "a prompt", ["bread"], ["a topic", "a phrase"])


# ---------------------------------------------------------------- the checks


@given(st.lists(st.sampled_from(["bread", "Oven", "1st"]), max_size=9), st.integers(0, 9))
def test_word_limits(said, n):
    text = ", ".join(said)
    assert CHECKS["max_words"](text, n) == (len(said) <= n)
    assert CHECKS["words_between"](text, n, 20) == (len(said) >= n)


@given(st.sampled_from(["quiet", "the"]), st.sampled_from(["Quiet seas.", "The sea", "quietly, there", '"QUIET"', ""]))
def test_a_word_is_contained_or_avoided(word, text):
    assert CHECKS["contains_word"](text, word) != CHECKS["avoids_word"](text, word)


def test_words_are_whole_and_case_does_not_count():
    assert CHECKS["contains_word"]("A QUIET, small place", "quiet")
    assert not CHECKS["contains_word"]("quietly disquieting", "quiet")
    assert CHECKS["avoids_letter"]("flour and salt", "b")
    assert not CHECKS["avoids_letter"]("Bread", "b")


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("Is it?", True),
        ('He asked, "is it?"', True),
        ("Is it? Yes.", False),
        ("Is it?)\n", True),
        ("", False),
        ("**Is it?**", True),
    ],
)
def test_ends_with_question(text, held):
    assert CHECKS["ends_with_question"](text) == held


@pytest.mark.parametrize(
    ("text", "held"),
    [("all small.", True), ("Not all", False), ("été", True), ("123 !", False), ("", False), ("ÉTÉ", False)],
)
def test_lower_case(text, held):
    assert CHECKS["lower_case"](text) == held


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("- one\n- two", 2),
        ("* one\n* two\n* three", 3),
        ("• one\n• two", 2),
        ("1. one\n2) two", 2),
        ("Here you are:\n\n- one\n\n  - two", 2),
        ("**Bold** is no bullet", 0),
        ("-one\n- \n-\n---", 0),
        ("a - b - c", 0),
        ("1999 was a year. 3 was not.", 0),
        ("- **Bold:** yes", 1),
    ],
)
def test_exact_bullets(text, n):
    assert CHECKS["exact_bullets"](text, n)
    assert not CHECKS["exact_bullets"](text, n + 1)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ('{"topic": "tea", "fact": "old"}', True),
        ('```json\n{"fact": ["old"], "topic": 1}\n```', True),
        ('Sure: {"topic": "tea", "fact": "old"}', False),
        ('{"topic": "tea"}', False),
        ('{"topic": "tea", "fact": "old", "more": 1}', False),
        ('{"topic": "tea", "fact": ""}', False),
        ('["topic", "fact"]', False),
        ('{"topic": "tea", "fact": "o', False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_json_keys(text, held):
    assert CHECKS["json_keys"](text, ["topic", "fact"]) == held


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), min_size=1))
def test_json_written_by_a_machine_passes(value):
    assert CHECKS["json_keys"](json.dumps(value), list(value))
    assert not CHECKS["json_keys"](json.dumps(value), [*value, "another key that is not there"])


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("At first, I ran.", True),
        ('"At first I ran"', True),
        ("at first", True),
        ("At firsthand", False),
        ("So at first", False),
        ("", False),
    ],
)
def test_starts_with(text, held):
    assert CHECKS["starts_with"](text, "At first") == held


def test_checks_are_called_by_name_with_their_parameters():
    assert run_checks([{"name": "max_words", "n": 2}, {"name": "lower_case"}], "One two") == {
        "max_words": True,
        "lower_case": False,
    }


# ---------------------------------------------------------------- the guard

PROMPT = 'Write a short text about the history of bread. Start with "Long ago". Use at most 25 words.'
MENTIONS = ["bread", "flour", "bak"]
ALLOWED = ["the history of bread", "Long ago"]


@pytest.mark.parametrize(
    "text",
    [
        "Long ago, people ground wheat into flour and baked it on hot stones.",
        "The history of bread is long and rich!",
        "bread is a gift of the fields.",
        "- Flour\n- Water\n- Yeast",
        '{"topic": "Bread", "fact": "It is old"}',
    ],
)
def test_answers_are_answers(text):
    assert is_answer(text, PROMPT, MENTIONS, ALLOWED)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "Bread?",
        "bread " * 20,
        "Bread is good. " * 6,
        PROMPT,
        "Write a short text about the history of bread.",
        "The history of bread",
        "Long ago",
        "I like the sea and the wind in my hair.",  # not about it
        "bread flour oven yeast wheat dough grain water salt",  # a list of keywords
        '{"topic": "", "fact": ""}',
        "- bread\n- bread\n- bread",
        "?",
    ],
)
def test_degenerate_completions_are_no_answers(text):
    assert not is_answer(text, PROMPT, MENTIONS, ALLOWED)
