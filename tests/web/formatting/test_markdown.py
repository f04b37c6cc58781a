"""What is shown of what was written, and what is not."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.web.formatting.differences import word_differences
from custodes.web.formatting.markdown import MATHML, _code, _mathml
from custodes.web.formatting.renderer import to_html


def test_markdown_code_and_maths_are_rendered():
    html = to_html("# Title\n\n**bold** and $x^2$\n\n$$\na\n= b\n$$\n\n```python\nx = 'a'\n```\n\n|a|b|\n|-|-|\n|1|2|")
    assert "<h4>Title</h4>" in html  # below the headings of the page
    assert "<strong>bold</strong>" in html
    assert html.count("<math") == 2
    assert 'display="block"' in html
    assert '<span class="s1">' in html
    assert "<table>" in html


@pytest.mark.parametrize("text", ["It costs $5 and $6.", "a $ b $ c", "`$x$`", "    $x$"])
def test_a_dollar_can_be_money_or_code(text):
    assert "<math" not in to_html(text)


@pytest.mark.parametrize(
    "latex", ["\\frac", "\\href{javascript:alert(1)}{x}", "\\text{<script>}", "{" * 3000, "x" * 5000]
)
def test_formulas_hold_nothing_but_maths(latex):
    made = _mathml(latex)
    assert "<script" not in made
    assert "href" not in made.split("<code>")[0]
    if made.startswith("<math"):
        assert all(e.tag.startswith(f"{{{MATHML}}}") for e in ElementTree.fromstring(made).iter())


def test_code_in_an_unknown_language_is_text():
    assert _code("<b>", "no such language") == _code("<b>") == "&lt;b&gt;"


HOSTILE = st.lists(
    st.sampled_from(
        ["<script>", "<img src=x onerror=y>", "[a](javascript:x)", "![p](http://e/p.png)", "$", "$$", "\\[", "\\]", "`", "```\n",
         "<", ">", '"', "'", "&", "\n", "\n\n", "# ", "> ", "- ", "|", "&#60;script&#62;", "\\href{javascript:x}{y}", "word ", "<!--", "]]>"]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_no_text_becomes_an_element_that_does_anything(text):
    html = to_html(text)
    assert not re.search(r"<(script|img|iframe|svg|style|object|form|input)", html, re.IGNORECASE)
    for tag in re.findall(r"<[a-z][^>]*>", html):
        assert not re.search(r"\son\w+\s*=", tag)
        assert "javascript:" not in tag


@settings(max_examples=100, deadline=None)
@given(st.text("ab \n.", max_size=60), st.text("ab \n.", max_size=60))
def test_the_pieces_of_a_difference_are_the_texts(left, right):
    found = word_differences(left, right)
    assert ["".join(text for text, _ in pieces) for pieces in found] == [left, right]
    same = [re.sub(r"\s", "", "".join(text for text, differs in pieces if not differs)) for pieces in found]
    assert same[0] == same[1]


def test_words_that_only_one_text_has_are_marked():
    left, right = word_differences("The sky is blue.", "The sky was grey.")
    assert [text for text, differs in left if differs] == ["is", "blue"]
    assert [text for text, differs in right if differs] == ["was", "grey"]


def test_long_texts_are_compared_in_bounded_time():
    left, _ = word_differences("a b " * 20_000, "b a " * 20_000)
    assert "".join(text for text, _ in left) == "a b " * 20_000
