"""Any text is formatted in bounded time and outside the server's process, or shown as it was written."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from custodes.web.formatting import renderer
from custodes.web.formatting.differences import line_differences, word_differences
from custodes.web.formatting.renderer import AS_WRITTEN, LONGEST, _Renderer, known_html, to_html

HOSTILE = {
    "nested braces": "```perl\n" + "{a" * 12_000 + "}" * 12_000 + "\n```",
    "block maths": "\\[ a\n\n" * 16_000,
    "block maths in one paragraph": "\\[ a\n" * 20_000,
    "inline maths": "\\( " * 33_000,
    "dollars": "$$ a\n" * 20_000,
    "brackets": "[" * 100_000,
    "links": "[a](" * 25_000,
    "pictures": "![" * 50_000,
    "emphasis": "**x _y " * 14_000,
    "ticks": "".join("`" * n + "a" for n in range(1, 440)),
    "quotes": (">" * 100 + "a\n") * 900,
    "lists": "".join(" " * (2 * n) + "- a\n" for n in range(300)),
    "tables": ("|a" * 300 + "\n" + "|-" * 300 + "\n") + "x\n" * 40_000,
    "perl": "```perl\n" + "{" * 49_000 + "\n```",
    "perl patterns": "```perl\n" + "s{a" * 16_000 + "\n```",
    "java": "```java\n" + "a " * 24_000 + "\n```",
    "html": "```html\n" + "<!--" * 12_000 + "\n```",
    "formulas": "$x^2$ " * 16_000,
}


SLOW = "```java\n" + "a " * 24_000 + "\n```"
"""Its lexer tries a pattern at every place to the end of the text."""


@pytest.fixture(scope="module")
def started() -> _Renderer:
    return _Renderer(cpu=0.2)


@pytest.fixture
def quick(started: _Renderer, monkeypatch: pytest.MonkeyPatch) -> _Renderer:
    monkeypatch.setattr(renderer, "renderer", started)
    return started


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_formatted_or_shown_as_it_was_written(quick: _Renderer, text: str):
    html = to_html(text)
    assert len(html) <= renderer.LARGEST
    assert html.startswith("<")
    assert known_html(text) == html  # nobody pays for it twice


def test_what_takes_too_long_ends_with_its_processor_time(quick: _Renderer):
    html = to_html(SLOW)
    assert AS_WRITTEN in html
    assert html.count("a a") > 10_000
    assert "<strong>bold</strong>" in to_html("**bold**")  # the next one is as always


def test_a_text_above_the_bound_is_never_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_Renderer, "ask", lambda *_: pytest.fail("it was formatted"))
    html = to_html("*" * (LONGEST + 1) + "<script>")
    assert AS_WRITTEN in html
    assert "<script>" not in html


def test_others_go_on_meanwhile(quick: _Renderer):
    slow = threading.Thread(target=to_html, args=(f"{SLOW} another",))
    slow.start()
    assert "<strong>now</strong>" in to_html("**now**")
    slow.join()


def test_a_worker_that_was_killed_is_started_again(quick: _Renderer):
    assert "<em>" in to_html("*one*")
    for worker in list(quick._idle.queue):
        if worker._process is not None:
            os.kill(worker._process.pid, signal.SIGKILL)
            worker._process.wait()
    assert "<em>" in to_html("*two*")


def test_a_lone_half_of_a_character_is_shown():
    assert "a" in to_html("a \ud800 b")


# ---------------------------------------------------------------- differences


def words(count: int) -> list[str]:
    return [f"word{n * 7919 % 1009}" for n in range(count)]


@pytest.mark.parametrize("count", [40, 600, 4_000, 9_000])
def test_long_answers_differ_where_they_differ(count: int):
    some = words(count)
    other = list(some)
    other[3], other[count // 2], other[-2] = "first", "middle", "last"
    del other[count // 3]
    left, right = word_differences(" ".join(some), " ".join(other))
    assert [text for text, differs in right if differs] == ["first", "middle", "last"]
    assert [text for text, differs in left if differs] == [some[n] for n in (3, count // 3, count // 2, count - 2)]


def test_what_moved_is_marked_once_on_each_side():
    some = words(2_000)
    left, right = word_differences(" ".join(["moved", *some]), " ".join([*some, "moved"]))
    assert [text for text, differs in left if differs] == ["moved"] == [text for text, differs in right if differs]


def test_texts_that_are_too_long_are_said_to_be():
    left, right = word_differences("a b " * 6_000, "b c " * 6_000)
    assert [differs for _, differs in (*left, *right)] == [None, None]


def test_scripts_without_blanks_are_compared_by_their_characters():
    left, right = word_differences("今日は天気がいい。", "今日は気分がいい。")
    assert "".join(text for text, differs in right if differs) == "分"
    assert "".join(text for text, differs in left if differs) == "天"


def test_lines_are_taken_out_and_put_in():
    assert line_differences("a\nb\nc\nd\n", "a\nx\nc\nd\ny\n") == ["-b", "+x", "+y"]
    assert line_differences("a\nb", "a\nb") == []
    assert line_differences("", "a") == ["+a"]
    assert line_differences("\n".join(map(str, range(11_000))), "x") is None


def test_a_worker_makes_differences_too(quick: _Renderer):
    assert renderer.differing_lines("a\nb", "a\nc") == ["-b", "+c"]
    left, right = renderer.differing_pieces("a b", "a c")
    assert [text for text, differs in left if differs] == ["b"]
    assert [text for text, differs in right if differs] == ["c"]
