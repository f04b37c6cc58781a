"""What happens when the server goes away, when sessions end, and when two work on the same."""

from __future__ import annotations

from playwright.sync_api import Browser, expect
from site_under_test import Site

from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison

PAIR = {"prompt": "What is 2 + 2?", "answers": ["It is 4.", "It is *probably* 5."]}
QUESTIONS = "[{kind: comparison}, {kind: comment, optional: true}]"


def test_a_judgment_survives_the_servers_death_in_its_middle(site: Site, browser: Browser):
    project = site.project(QUESTIONS, [PAIR])
    page = site.visitor(browser)
    site.open(page, project)
    page.keyboard.press("6")
    comment = page.get_by_label("Comment: answer A")
    comment.fill("typed before")
    expect(page.locator(".status")).to_contain_text("Saved")
    site.kill()
    expect(page.locator("#offline")).to_be_visible()
    comment.press_sequentially(", and while it was away")
    site.start()
    expect(page.locator("#offline")).to_be_hidden()
    expect(page.get_by_text("B better", exact=True).locator("xpath=ancestor::label//input")).to_be_checked()
    expect(page.get_by_label("Comment: answer A")).to_have_value("typed before, and while it was away")
    expect(page.locator(".status")).to_contain_text("Saved")
    page.keyboard.press("Control+Enter")
    expect(page.locator("main h1")).to_have_text("Nothing to judge")
    found = {type(j): j for j in site.judgments(project, 2)}
    assert found[Comparison].strength == -2
    assert found[Comment].text == "typed before, and while it was away"


def test_two_people_judge_the_same_item_at_once(site: Site, browser: Browser):
    project = site.project(QUESTIONS, [PAIR])
    pages = [site.visitor(browser) for _ in range(2)]
    for page in pages:
        site.open(page, project)
    for page, key in zip(pages, "17", strict=True):
        page.keyboard.press(key)
    for page in pages:
        page.locator("[data-hand-in]").click()
    for page in pages:
        expect(page.locator("main h1")).to_have_text("Nothing to judge")
    found = site.judgments(project, 2)
    assert len({j.annotator for j in found}) == 2
    assert sorted(j.strength for j in found) == [-3, 3]


def test_the_same_person_on_two_devices_hands_in_once(site: Site, browser: Browser):
    project = site.project(QUESTIONS, [PAIR])
    page = site.visitor(browser)
    site.open(page, project)
    other = page.context.new_page()
    site.open(other, project)
    for here, key in ((page, "1"), (other, "2")):
        here.keyboard.press(key)
    page.locator("[data-hand-in]").click()
    expect(page.locator("main h1")).to_have_text("Nothing to judge")
    other.locator("[data-hand-in]").click()
    expect(other.locator("#said")).to_contain_text("handed in before")
    assert [j.strength for j in site.judgments(project)] == [3]


def test_whoever_is_signed_out_elsewhere_hands_in_nothing(site: Site, browser: Browser):
    project = site.project(QUESTIONS, [PAIR])
    page = site.visitor(browser)
    site.open(page, project)
    page.keyboard.press("1")
    site.database.accounts.log_out(page.context.cookies()[0]["value"])
    page.locator("[data-hand-in]").click()
    page.wait_for_url(f"**/sign-in?next=/work/{project}")
    assert not site.judgments(project, 0)


def test_idle_time_is_not_counted(site: Site, browser: Browser):
    project = site.project(QUESTIONS, [PAIR])
    page = site.visitor(browser)
    page.clock.install()
    site.open(page, project)
    page.evaluate("window.socket.disconnect(); custodes.seconds(0)")  # hours do not pass for the server
    for _ in range(5):
        page.mouse.move(10, 10)
        page.mouse.move(20, 20)
        page.clock.run_for(2_000)
    worked = page.evaluate("custodes.seconds()")
    assert 9 <= worked <= 14
    page.clock.run_for(300_000)  # nobody there
    assert page.evaluate("custodes.seconds()") - worked <= 31
