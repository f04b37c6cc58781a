"""Code review by people, and judgments before and after help, on their screens."""

from __future__ import annotations

from playwright.sync_api import Browser, expect
from site_under_test import Site

from custodes.feedback.critique import Critique, Finding, parse_critique, write_critique
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.rating import Rating

CODE = "def total(xs):\n    return sum(xs)\n"
PROMPT = f"Review it.\n\n```python\n{CODE}```"
GIVEN = Critique((Finding("    return sum(xs)", "Slow."), Finding("def total(xs):", "No docstring.")))


def enter(page) -> None:
    page.locator("[data-hand-in]").click()
    expect(page.locator("#said")).to_have_text("Handed in.")


def test_a_bug_is_put_into_code_and_described(site: Site, browser: Browser):
    project = site.project("[{kind: tamper}]", [{"prompt": "Write total.", "answers": [CODE]}])
    page = site.visitor(browser)
    site.open(page, project)
    page.locator("[data-hand-in]").click()
    expect(page.locator("#said")).to_contain_text("put a bug into it")
    page.locator(".cm-line", has_text="return").click()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")  # before the bracket
    page.keyboard.type("[1:]")
    expect(page.get_by_label("Changed lines")).to_contain_text("+    return sum(xs[1:])")
    page.get_by_label("Describe the bug").fill("The first element is left out.")
    enter(page)
    correction, description = site.judgments(project, 2)
    assert isinstance(correction, Correction)
    assert isinstance(description, Comment)
    assert correction.text == CODE
    run = next(run.id for run in site.database.ledger.runs() if run.recipe == f"project {project}")
    made = next(e for e in site.database.ledger.episodes(run) if e.id == correction.episodes[0])
    assert made.completion == CODE.replace("sum(xs)", "sum(xs[1:])")


def test_a_given_critique_is_kept_edited_and_cut(site: Site, browser: Browser):
    rows = [{"prompt": PROMPT, "answers": [write_critique(GIVEN)], "models": ["critic-1"]}]
    project = site.project("[{kind: critique}]", rows)
    page = site.visitor(browser)
    site.open(page, project)
    expect(page.locator("main")).to_contain_text("2 kept, 0 edited, 0 removed, 0 added")
    page.get_by_label("Comment 1").fill("The sum leaves nothing out.")
    page.get_by_role("button", name="Remove finding 2").press("Enter")
    expect(page.locator("main")).to_contain_text("0 kept, 1 edited, 1 removed, 0 added")
    page.get_by_label("Quote 1").fill("nowhere")
    expect(page.locator("main")).to_contain_text("This quote does not occur in the code.")
    page.get_by_label("Quote 1").fill("    return sum(xs)")
    enter(page)
    (judgment,) = site.judgments(project)
    assert isinstance(judgment, Correction)
    assert judgment.assistance == "critic-1"
    assert parse_critique(judgment.text).findings == (Finding("    return sum(xs)", "The sum leaves nothing out."),)


def test_a_critique_from_nothing_quotes_what_is_selected(site: Site, browser: Browser):
    project = site.project("[{kind: critique}]", [{"prompt": PROMPT}])
    page = site.visitor(browser)
    site.open(page, project)
    page.get_by_label("The code. Select what is wrong, then quote it.").evaluate("e => e.setSelectionRange(15, 33)")
    page.keyboard.press("q")
    expect(page.get_by_label("Quote 1")).to_have_value(CODE[15:33])
    page.get_by_label("Comment 1").fill("Fails for what is no number.")
    enter(page)
    (judgment,) = site.judgments(project)
    assert isinstance(judgment, Demonstration)
    assert parse_critique(judgment.text).findings == (Finding(CODE[15:33], "Fails for what is no number."),)


def test_four_critiques_are_rated_side_by_side_with_the_bug_told(site: Site, browser: Browser):
    row = {"prompt": PROMPT, "answers": ["one", "two", "three", "four"], "reference": "It *leaves* one out."}
    axes = "axes: [{name: cbi, title: CBI}]"
    project = site.project("[{kind: rating, axis: cbi, answers: 4}, {kind: rating, answers: 4}]", [row], axes)
    page = site.visitor(browser)
    site.open(page, project)
    expect(page.get_by_role("region", name="What is known, for you alone")).to_contain_text("It leaves one out.")
    expect(page.locator("article.answer")).to_have_count(4)
    for key in "12345671":
        page.keyboard.press(key)
    enter(page)
    ratings = site.judgments(project, 8)
    assert all(isinstance(r, Rating) for r in ratings)
    assert [r.value for r in ratings if r.axis == "cbi"] == [1, 2, 3, 4]
    assert [r.value for r in ratings if r.axis == "overall"] == [5, 6, 7, 1]


def test_help_is_shown_after_judging_alone_and_both_judgments_are_kept(site: Site, browser: Browser):
    row = {"prompt": "Q?", "answers": ["a", "b"], "assistance": {"by": "critic-1", "text": "The second **errs**."}}
    project = site.project("[{kind: comparison}]", [row], "assisted: true")
    page = site.visitor(browser)
    site.open(page, project)
    expect(page.locator("[data-stage=alone]")).to_be_visible()
    expect(page.locator("main")).not_to_contain_text("errs")
    page.keyboard.press("t")
    enter(page)
    expect(page.locator("[data-stage=assisted]")).to_be_visible()
    expect(page.get_by_role("region", name="Help")).to_contain_text("The second errs.")
    expect(page.get_by_label("Equal")).to_be_checked()  # what was said alone
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_have_text("Nothing to judge")
    alone, assisted = site.judgments(project, 2)
    assert isinstance(alone, Comparison)
    assert isinstance(assisted, Comparison)
    assert (alone.verdict, alone.assistance) == ("tie", "")
    assert (assisted.strength, assisted.assistance) == (2, "critic-1")
    assert assisted.seconds is not None


def test_a_test_of_the_help_is_run_again_by_one_click(site: Site, browser: Browser):
    test = "from mine import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
    rows = [
        {"module": "mine", "code": f"def twice(x):\n    return {body}\n", "test": test} for body in ("x + 1", "2 * x")
    ]
    help_ = {"by": "critic-1", "text": "It adds.", "tests": rows}
    item = {"prompt": "Q?", "answers": ["a", "b"], "assistance": help_}
    project = site.project("[{kind: comparison}]", [item], "assisted: true")
    page = site.visitor(browser)
    site.open(page, project)
    expect(page.locator("[data-test]")).to_have_count(0)  # judge alone first
    page.keyboard.press("t")
    enter(page)
    expect(page.locator("[data-test='0']")).to_contain_text("assert twice(2) == 4")
    page.locator("[data-run='0']").click()
    expect(page.locator("[data-came='0']")).to_have_text("It fails again: AssertionError.", timeout=60_000)
    page.locator("[data-run='1']").click()
    expect(page.locator("[data-came='1']")).to_have_text("It passes.", timeout=60_000)
    expect(page.get_by_label("Equal")).to_be_checked()  # nothing that was entered is lost


def test_help_by_a_coin_is_on_some_screens_and_in_their_judgments_alone(site: Site, browser: Browser):
    help_ = {"by": "critic-1", "text": "The second **errs**."}
    rows = [{"prompt": f"Q{n}?", "answers": [f"a{n}", f"b{n}"], "assistance": help_} for n in range(8)]
    project = site.project("[{kind: comparison}]", rows, "assisted: at random")
    page = site.visitor(browser)
    site.open(page, project)
    seen = []
    for n in range(8):
        expect(page.get_by_label("Equal")).not_to_be_checked()
        seen.append(page.get_by_role("region", name="Help").is_visible())
        page.keyboard.press("t")
        page.keyboard.press("Enter")
        site.judgments(project, n + 1)
    expect(page.locator("main h1")).to_have_text("Nothing to judge")
    judgments = site.judgments(project, 8)
    assert [bool(j.assistance) for j in judgments] == seen
