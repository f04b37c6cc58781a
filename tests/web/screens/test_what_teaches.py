"""Every kind of judgment goes from a project's file over the screen to the exported file, and from there teaches a reward."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

from playwright.sync_api import Browser, Page, expect
from site_under_test import Site

from custodes.cli import main
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.kinds.step import StepMark
from custodes.feedback.reading import read_feedback

ANSWER = "Add the two numbers.\n\nTheir sum is 5."
AXES = """axes:
  - {name: truthful, title: Truthfulness, lowest: 0, highest: 5, low: all false, high: all true}
  - {name: no-insults, title: Insults nobody, lowest: -2, highest: 2}
  - {name: quality, title: Quality, lowest: 0, highest: 100}
reasons: [clear, polite]"""
OF_ONE = """[{kind: rating, axis: truthful}, {kind: rating, axis: no-insults}, {kind: rating, axis: quality},
  {kind: label, name: acceptable, values: [{value: "yes", title: Send it}, {value: "no", title: Do not}]},
  {kind: step}, {kind: span, values: [{value: wrong, title: Wrong}]}, {kind: comment}, {kind: correction},
  {kind: demonstration}]"""
OF_TWO = """[{kind: comparison}, {kind: comparison, axis: truthful}, {kind: ranking, axis: quality},
  {kind: rating, axis: truthful}, {kind: comment, optional: true}]"""


def choose(page: Page, group: str, option: str) -> None:
    page.get_by_role("group", name=group, exact=True).get_by_role("radio", name=option, exact=True).click()


def hand_in(page: Page, left: int = 0) -> None:
    """Hands in, and waits until the next item is there, or none is: what is said may be of the item before."""
    done = page.locator("[data-progress]")
    before = int(done.inner_text().split()[0])
    page.locator("[data-hand-in]").click()
    if left:
        expect(done).to_contain_text(f"{before + 1} handed in")
    else:
        expect(page.locator("#main > h1")).to_have_text("Nothing to judge")


def exported(site: Site, browser: Browser, project: str, folder: Path) -> Path:
    """The file of judgments that a lead downloads."""
    lead = site.visitor(browser, "lead")
    lead.goto(f"{site.address}/manage")
    with lead.expect_download() as download:
        lead.get_by_label(f"Export Project {project} as trl", exact=True).click()
    download.value.save_as(folder / "data.zip")
    with zipfile.ZipFile(folder / "data.zip") as archive:
        archive.extractall(folder)
    return folder / "judgments.jsonl"


def test_what_is_said_of_one_answer(site: Site, browser: Browser, tmp_path: Path, tiny_model: Path):
    rows = [{"id": f"sum-{n}", "prompt": f"What is 2 + 2 ({n})?", "answers": [ANSWER]} for n in range(4)]
    project = site.project(OF_ONE, rows, AXES)
    page = site.visitor(browser)
    site.open(page, project)
    expect(page.get_by_text("0: all false · 5: all true")).to_be_visible()
    for n in range(4):
        choose(page, "Truthfulness", f"{n} on 0 to 5")
        choose(page, "Insults nobody", f"{n - 2} on -2 to 2")
        page.get_by_label("Quality, 0 to 100").fill(str(25 * n))
        choose(page, "Acceptable", "Send it" if n else "Do not")
        choose(page, "Step 1", "good")
        choose(page, "Step 2", "wrong")
        page.get_by_role("radio", name="Mark passages").click()
        passage = page.locator("textarea[data-marks]")
        passage.evaluate("f => { f.focus(); const at = f.value.indexOf('is 5'); f.setSelectionRange(at, at + 4) }")
        page.get_by_role("button", name="Wrong").click()
        expect(page.locator(".marks q")).to_have_text("is 5")
        page.get_by_label("How bad").select_option("severe")
        page.get_by_label("Comment", exact=True).fill("The sum is wrong.")
        page.get_by_label("Edit until it is right").fill(ANSWER.replace("5", "4"))
        page.get_by_label("The answer that you would give").fill("It is 4.")
        page.get_by_role("checkbox", name="polite").click()
        hand_in(page, left=3 - n)
    judgments = site.judgments(project, 4 * 11)
    file = exported(site, browser, project, tmp_path)
    again = read_feedback(file).feedback.judgments
    assert sorted(again, key=lambda j: j.id) == sorted(judgments, key=lambda j: j.id)
    scales = {(j.axis, j.lowest, j.highest) for j in again if isinstance(j, Rating)}
    assert scales == {("truthful", 0, 5), ("no-insults", -2, 2), ("quality", 0, 100)}
    assert [j.value for j in again if isinstance(j, Rating) and j.axis == "no-insults"] == [-2, -1, 0, 1]
    steps = Counter((j.step, j.value) for j in again if isinstance(j, StepMark))
    assert steps == {(0, 1): 4, (1, -1): 4}
    spans = {(ANSWER[j.start : j.end], j.category, j.severity) for j in again if isinstance(j, SpanMark)}
    assert spans == {("is 5", "wrong", 3)}
    assert {j.text for j in again if isinstance(j, Demonstration)} == {"It is 4."}
    train = ["reward", "train", "--judgments", file, "--out", tmp_path / "reward", "--model", tiny_model]
    assert (
        main([str(word) for word in [*train, "--axes", "truthful,no-insults,quality", "--epochs", 1, "--rank", 2]]) == 0
    )


def test_what_is_said_of_two_answers(site: Site, browser: Browser, tmp_path: Path):
    project = site.project(OF_TWO, [{"prompt": "What is 2 + 2?", "answers": ["It is 4.", "It is 5."]}], AXES)
    page = site.visitor(browser)
    site.open(page, project)
    choose(page, "Which answer is better?", "A much better")
    choose(page, "Which is better: Truthfulness?", "Both bad")
    choose(page, "Rank, Quality: answer A", "1 best")
    choose(page, "Rank, Quality: answer B", "1 best")
    choose(page, "Truthfulness: answer A", "5 on 0 to 5")
    choose(page, "Truthfulness: answer B", "0 on 0 to 5")
    page.get_by_label("Comment: answer B (optional)").fill("No.")
    hand_in(page)
    judgments = site.judgments(project, 6)
    again = read_feedback(exported(site, browser, project, tmp_path)).feedback.judgments
    assert sorted(again, key=lambda j: j.id) == sorted(judgments, key=lambda j: j.id)
    assert Counter(j.kind for j in again) == {"comparison": 2, "ranking": 1, "rating": 2, "comment": 1}


def test_a_number_outside_the_scale_is_refused_and_kept(site: Site, browser: Browser):
    project = site.project("[{kind: rating, axis: quality}]", [{"prompt": "?", "answers": ["It is 4."]}], AXES)
    page = site.visitor(browser)
    site.open(page, project)
    field = page.get_by_label("Quality, 0 to 100")
    for wrong in ("101", "-1"):
        field.fill(wrong)
        page.locator("[data-hand-in]").click()
        expect(page.locator("#said")).to_contain_text("give a whole number from 0 to 100")
        expect(field).to_have_value(wrong)
    field.fill("100")
    hand_in(page)
    (rating,) = site.judgments(project)
    assert (rating.value, rating.lowest, rating.highest) == (100, 0, 100)
