"""Critiques are read as they were written, and quotes are found where they stand."""

from hypothesis import given
from hypothesis import strategies as st

from custodes.feedback.critique import Critique, Finding, Place, hallucinated, locate, parse_critique, write_critique

SOURCE = """def mean(values):
    total = 0
    for value in values:
        total += value
    if total:
        total += 0
    return total / len(values)
"""
text = st.text(st.sampled_from(" \t\n\r`~abc#é\u2028\x0b\\"), max_size=40) | st.text(max_size=40)
critiques = st.builds(
    Critique, st.lists(st.builds(Finding, text, text), max_size=4).map(tuple), st.text(max_size=20) | text
)


@given(critiques)
def test_what_is_written_is_read_back(critique: Critique):
    assert parse_critique(write_critique(critique)) == critique


@given(critiques, st.sampled_from(["", "py", "python"]))
def test_the_language_is_no_part_of_the_critique(critique: Critique, language: str):
    assert parse_critique(write_critique(critique, language)) == critique


@given(st.text())
def test_any_text_is_a_critique_and_writing_it_settles_it(given_text: str):
    once = parse_critique(given_text)
    assert parse_critique(write_critique(once)) == once


def test_quote_and_comment_are_told_apart():
    read = parse_critique(
        "Two things.\n\n```python\n    total = 0\n```\nWrong start.\n\n```\nreturn total\n```\nEmpty list\nfails."
    )
    assert read.opening == "Two things."
    assert read.findings == (Finding("    total = 0", "Wrong start."), Finding("return total", "Empty list\nfails."))


def test_a_quote_that_holds_a_fence_gets_a_longer_one():
    finding = Finding('"""\n```\ncode\n```\n"""', "Says nothing.")
    assert parse_critique(write_critique(Critique((finding,)))).findings == (finding,)


def test_a_block_that_a_limit_cut_reaches_to_the_end():
    assert parse_critique("```python\n    total = 0\n    for").findings == (Finding("    total = 0\n    for", ""),)


def test_a_critique_that_quotes_nothing_has_no_findings():
    assert parse_critique("Looks good to me.") == Critique((), "Looks good to me.")
    assert parse_critique("").findings == ()


def test_whole_lines_come_first():
    assert locate("    total = 0", SOURCE) == [Place(2, 2)]
    assert locate("    for value in values:\n        total += value", SOURCE) == [Place(3, 4)]


def test_a_part_of_a_line_is_found_but_not_inside_a_name():
    assert locate("len(values)", SOURCE) == [Place(7, 7)]
    assert locate("value", SOURCE) == [Place(3, 3), Place(4, 4)]
    assert locate("alue", SOURCE) == []


def test_a_quote_that_occurs_twice_lists_both_places():
    assert locate("total += ", SOURCE) == [Place(4, 4), Place(6, 6)]


def test_white_space_is_ignored_only_when_it_must_be():
    assert locate("for value in values:\n    total+=value", SOURCE) == [Place(3, 4, exact=False)]
    assert locate("total  =  0", SOURCE) == [Place(2, 2, exact=False)]


def test_windows_line_ends_and_tabs_do_not_hide_a_place():
    source = "def f(x):\r\n\tif x:\r\n\t\treturn 1\r\n"
    assert locate("\tif x:\n\t\treturn 1", source) == [Place(2, 3)]
    assert locate("    if x:\n        return 1", source) == [Place(2, 3, exact=False)]


def test_a_quote_that_occurs_nowhere_is_a_hallucination():
    assert hallucinated(Finding("total -= value", "Wrong sign."), SOURCE)
    assert hallucinated(Finding("  \n ", "Nothing."), SOURCE)
    assert not hallucinated(Finding("total += value", "Fine."), SOURCE)


@given(st.integers(0, 6), st.integers(1, 4))
def test_lines_of_the_source_are_found_where_they_were_taken(start: int, count: int):
    lines = SOURCE.rstrip("\n").split("\n")[start : start + count]
    assert Place(start + 1, start + len(lines)) in locate("\n".join(lines), SOURCE)
