"""Every work screen by keyboard and by mouse: what people do is what the ledger has."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect
from site_under_test import Site

from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.kinds.step import StepMark
from custodes.types import Judgment

PAIR = {"prompt": "What is 2 + 2?", "answers": ["It is 4.", "It is *probably* 5."]}
ONE = {"prompt": "What is 2 + 2?", "answers": ["It is 4, I hope."]}
PROOF = {"prompt": "Show it.", "answers": ["First this.\n\nThen that.\n\nHence the other."]}


def begin(site: Site, browser: Browser, questions: str, row: dict, more: str = "", number: int = 2) -> tuple[str, Page]:
    rows = [{**row, "id": f"task-{n}"} for n in range(number)]
    project = site.project(questions, rows, more)
    page = site.visitor(browser)
    site.open(page, project)
    expect(page.locator("#main > h1")).to_be_focused()  # the time of the item has begun
    page.wait_for_timeout(100)
    return project, page


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def enter(page: Page) -> None:
    """Hands in, and waits until that is acknowledged."""
    page.locator("[data-hand-in]").click()
    expect(page.locator("#said")).to_have_text("Handed in.")


COMPARE = "[{kind: comparison}, {kind: rating, axis: truth, optional: true}, {kind: comment, optional: true}]"
AXES = "axes: [{name: truth, title: Truth}]\nreasons: [clear, right]"


def test_passages_of_a_text_with_other_line_ends_are_the_ones_selected(site: Site, browser: Browser):
    text = "One line.\r\nAnother one.\r\nThe wrong one."
    rows = [{"prompt": "?", "answers": [text]}]
    asked = "[{kind: span, values: [{value: wrong, title: Wrong}]}, {kind: correction, optional: true}]"
    project = site.project(asked, rows)
    page = site.visitor(browser)
    site.open(page, project)
    page.locator("textarea[data-marks]").evaluate(
        "f => { f.focus(); const at = f.value.indexOf('wrong'); f.setSelectionRange(at, at + 5) }"
    )
    page.get_by_role("button", name="Wrong").first.click()
    expect(page.locator(".marks q")).to_have_text("wrong")
    page.keyboard.press("Control+Enter")
    (mark,) = site.judgments(project)
    assert isinstance(mark, SpanMark)
    assert text[mark.start : mark.end] == "wrong"


def test_compare_by_keyboard_from_one_item_to_the_next(site: Site, browser: Browser):
    project, page = begin(site, browser, COMPARE, PAIR, AXES)
    press(page, "2")  # A better, and on to the ratings
    press(page, "7", "1", "Enter")
    expect(page.locator("#said")).to_have_text("Handed in.")
    expect(page.locator("[data-progress]")).to_contain_text("1 handed in")
    comparison, *ratings = site.judgments(project, 3)
    assert isinstance(comparison, Comparison)
    assert (comparison.verdict, comparison.strength, comparison.guideline) == ("prefer", 2, "7")
    assert [(r.value, r.episodes[0]) for r in ratings] == [(7, comparison.episodes[0]), (1, comparison.episodes[1])]
    assert comparison.seconds is not None
    assert 0 < comparison.seconds < 60
    expect(page.locator("input:checked[data-keep^=q]")).to_have_count(0)  # the next item is a fresh sheet
    press(page, "b", "Enter")
    expect(page.locator("main h1")).to_have_text("Nothing to judge")
    assert site.judgments(project, 4)[3].verdict == "both_bad"


def test_what_was_handed_in_last_can_be_corrected(site: Site, browser: Browser):
    questions = "[{kind: comparison}, {kind: span, optional: true, values: [{value: wrong, title: Wrong}]}]"
    project, page = begin(site, browser, questions, PAIR)
    press(page, "m")
    mark(page, 0, 0, 2)
    expect(page.locator(".marks li")).to_have_count(1)
    press(page, "t", "Enter")
    expect(page.locator("#said")).to_have_text("Handed in.")  # until then keys are for nothing
    assert len(site.judgments(project, 2)) == 2
    expect(page.locator("[data-progress]")).to_contain_text("1 handed in")
    press(page, "z")
    expect(page.locator("#said")).to_contain_text("what you handed in last")
    expect(page.locator("[data-progress]")).to_contain_text("Correcting")
    expect(page.get_by_label("Equal")).to_be_checked()
    press(page, "m")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator(".marks li")).to_have_count(0)
    press(page, "7", "Enter")
    expect(page.locator("#said")).to_have_text("Handed in.")
    now = {type(j): j for j in site.judgments(project, 2)}
    assert now[Comparison].strength == -3
    assert now[Comment].text == "withdrawn"
    assert SpanMark not in now


def test_compare_by_mouse_with_everything_on_the_screen(site: Site, browser: Browser):
    questions = (
        "[{kind: comparison}, {kind: span, optional: true, values: [{value: wrong, title: Wrong}]},"
        "{kind: correction, optional: true}, {kind: comment, optional: true}]"
    )
    project, page = begin(site, browser, questions, PAIR, "reasons: [clear, right]")
    page.get_by_role("radio", name="Differences").click()
    expect(page.locator(".answer mark").first).to_be_visible()
    marked = "".join(page.locator(".answer mark").all_inner_texts())
    assert "4" in marked
    assert "5" in marked
    assert "It" not in marked
    page.get_by_role("radio", name="A slightly better").click()
    page.get_by_role("radio", name="Mark passages").click()
    mark(page, 1, 3, 7, key=None)
    page.locator(".marking").nth(1).get_by_role("button", name="Wrong").click()
    page.get_by_label("How bad").select_option("severe")
    page.locator("summary", has_text="Edit answer A").click()
    page.locator("details textarea").first.fill("It is four.")
    page.get_by_label("Comment: answer B").fill("no <b>proof</b>")
    page.get_by_role("checkbox", name="right").click()
    expect(page.locator(".status")).to_contain_text("Saved")
    enter(page)
    found = {type(j): j for j in site.judgments(project, 5) if getattr(j, "text", "") != "reasons: right"}
    first, second = found[Comparison].episodes
    assert found[Comparison].strength == 1
    span = found[SpanMark]
    assert (span.start, span.end, span.category, span.severity) == (3, 7, "wrong", 3)
    assert (span.episodes, found[Correction].episodes) == ((second,), (first,))
    assert found[Correction].text == "It is four."
    assert (found[Comment].text, found[Comment].episodes) == ("no <b>proof</b>", (second,))
    assert any(getattr(j, "text", "") == "reasons: right" for j in site.judgments(project))


def mark(page: Page, place: int, start: int, end: int, key: str | None = "1") -> None:
    field = page.locator("textarea[data-marks]").nth(place)
    field.evaluate("(f, [a, b]) => { f.focus(); f.setSelectionRange(a, b); }", [start, end])
    if key:
        page.keyboard.press(key)


def _values(judgments: list[Judgment]) -> list:
    seen = []
    for j in judgments:
        if isinstance(j, Rating | StepMark):
            seen.append(j.value)
        elif isinstance(j, Label):
            seen.append((j.name, j.value))
        elif isinstance(j, Ranking):
            seen.append(j.ranks)
        elif isinstance(j, SpanMark):
            seen.append((j.start, j.end, j.category, j.severity))
        elif isinstance(j, Correction | Demonstration | Comment):
            seen.append(j.text)
    return seen


LABEL = "[{kind: label, name: safe, values: [{value: 'yes', title: Harmless}, {value: 'no', title: Harmful}]}]"
SPANS = "[{kind: span, values: [{value: wrong, title: Wrong}, {value: vague, title: Vague}]}]"
FIRST = "The first error is here"
SCREENS = {
    "rate": ("[{kind: rating}]", ONE, ["6"], [("6 of 7", 0)], [6]),
    "label": (LABEL, ONE, ["2"], [("Harmful", 0)], [("safe", "no")]),
    "rank": ("[{kind: ranking}]", PAIR, ["2", "1"], [("2 worst", 0), ("1 best", 1)], [(2, 1)]),
    "steps": ("[{kind: step}]", PROOF, ["+", "0", "-"], [("good", 0), ("neutral", 1), ("wrong", 2)], [1, 0, -1]),
    "first error": ("[{kind: step}]", PROOF, ["x", "2"], [("Only the first error", 0), (FIRST, 1)], [1, -1]),
}


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize("by", ["keyboard", "mouse"])
def test_simple_screens(site: Site, browser: Browser, name: str, by: str):
    questions, row, keys, clicks, expected = SCREENS[name]
    project, page = begin(site, browser, questions, row, number=1)
    if by == "keyboard":
        for key in keys:
            press(page, key)
            if key == "x":
                page.get_by_role("radio", name=FIRST).first.wait_for()
        press(page, "Control+Enter")
    else:
        for label, number in clicks:
            page.get_by_role("radio", name=label).nth(number).click()
        enter(page)
    assert _values(site.judgments(project, len(expected))) == expected


TYPED = {
    "correct": ("[{kind: correction}]", ONE, "It is 4."),
    "demonstrate": ("[{kind: demonstration}]", {"prompt": "Say hello."}, "Hello, *you*."),
    "comment": ("[{kind: comment}]", ONE, "Why hope?"),
}


@pytest.mark.parametrize("name", TYPED)
def test_screens_that_are_typed_into(site: Site, browser: Browser, name: str):
    questions, row, text = TYPED[name]
    project, page = begin(site, browser, questions, row, number=2)
    if name != "correct":  # a correction may find nothing to correct
        press(page, "Enter")
        expect(page.locator("#said")).to_have_class("bad")
    page.locator(".questions textarea").click()
    press(page, "Control+a", "Delete")
    page.keyboard.type(text)
    expect(page.locator(".status")).to_contain_text("Saved")
    press(page, "Control+Enter")
    expect(page.locator("#said")).to_have_text("Handed in.")  # until then nothing can be handed in
    assert _values(site.judgments(project)) == [text]
    expect(page.locator("[data-progress]")).to_contain_text("1 handed in")
    page.locator(".questions textarea").fill(f"{text} Twice.")
    enter(page)
    assert _values(site.judgments(project, 2))[1] == f"{text} Twice."


def test_spans_count_characters_as_python_does(site: Site, browser: Browser):
    row = {"prompt": "Say it.", "answers": ["😀😀 is wrong."]}
    project, page = begin(site, browser, SPANS, row, number=1)
    field = page.locator("textarea[data-marks]")
    field.click()
    press(page, "Control+End", "ArrowLeft")
    for _ in range(5):
        press(page, "Shift+ArrowLeft")
    press(page, "2")
    expect(page.locator(".marks q")).to_have_text("wrong")
    enter(page)
    assert _values(site.judgments(project)) == [(6, 11, "vague", 1)]


def test_skipping_and_flagging_say_why_and_go_on(site: Site, browser: Browser):
    project, page = begin(site, browser, "[{kind: rating}]", ONE, number=3)
    press(page, "s")
    expect(page.get_by_role("dialog", name="Skip this item")).to_be_visible()
    page.keyboard.type("not my field")
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    expect(page.locator("#said")).to_have_text("Skipped.")
    press(page, "f")
    page.get_by_role("button", name="Flag and go on").click()
    expect(page.locator("#said")).to_have_text("Say what is wrong with it.")
    page.get_by_label("What is wrong?").fill("a broken picture")
    page.get_by_role("button", name="Flag and go on").click()
    expect(page.locator("#said")).to_have_text("Flagged.")
    press(page, "5", "Enter")
    expect(page.locator("main h1")).to_have_text("Nothing to judge")
    run = next(run.id for run in site.database.ledger.runs() if run.recipe == f"project {project}")
    said = {(d.what, d.why) for d in site.database.ledger.decisions(run)}
    assert {("item skipped", "not my field"), ("item flagged", "a broken picture")} <= said


def test_guidelines_and_keys_are_there_at_a_key(site: Site, browser: Browser):
    _, page = begin(site, browser, COMPARE, PAIR, AXES)
    press(page, "g")
    drawer = page.get_by_role("dialog", name="Guidelines, version 7")
    expect(drawer.locator("strong")).to_have_text("fair")
    press(page, "Escape", "?")
    keys = page.get_by_role("dialog", name="Keys")
    for what in ("Hand in", "Undo", "Both bad", "Differences", "choose in the row where you are"):
        expect(keys.get_by_text(what, exact=True)).to_be_visible()
    press(page, "Escape")
    page.get_by_label("Comment: answer A").fill("gz?")  # letters that are typed are letters
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_answers_scroll_together_until_told_otherwise(site: Site, browser: Browser):
    long = "\n\n".join(f"Line {n}" for n in range(100))
    _, page = begin(site, browser, "[{kind: comparison}]", {"prompt": "?", "answers": [long, long + "."]})
    left, right = page.locator("[data-answer]").all()
    left.evaluate("pane => pane.scrollTop = pane.scrollHeight")
    page.wait_for_function("document.querySelectorAll('[data-answer]')[1].scrollTop > 500")
    page.wait_for_timeout(200)
    press(page, "l")
    left.evaluate("pane => pane.scrollTop = 0")
    page.wait_for_timeout(200)
    assert right.evaluate("pane => pane.scrollTop") > 500


def test_what_need_not_be_answered_says_so(site: Site, browser: Browser):
    asked = """[{kind: ranking}, {kind: rating, optional: true}, {kind: comment, optional: true},
        {kind: label, name: sendable, values: [{value: good, title: Good}, {value: bad, title: Bad}], optional: true}]"""
    _, page = begin(site, browser, asked, PAIR)
    for legend in ("Rank", "Overall", "Sendable"):
        optional = "" if legend == "Rank" else " (optional)"
        for answer in "AB":
            expect(page.get_by_role("group", name=f"{legend}: answer {answer}{optional}", exact=True)).to_be_visible()
    expect(page.get_by_label("Comment: answer B (optional)")).to_be_visible()
