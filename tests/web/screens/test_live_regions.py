"""What is drawn again by a timer loses neither a press nor the focus."""

from __future__ import annotations

from playwright.sync_api import Browser, Locator, Page, expect
from site_under_test import Site

from custodes.types import Message
from custodes.web import oversight
from custodes.web.people import set_member


def seen_by(site: Site, browser: Browser) -> tuple[str, Page, Locator, Locator]:
    """A project's name, the page that watches it, its card there, and the button that shows its members."""
    project = site.project("[{kind: comparison}]", [{"prompt": "Q?", "answers": ["a", "b"]}])
    page = site.visitor(browser, "lead")
    page.goto(f"{site.address}/manage")
    card = page.get_by_role("region", name=f"Project {project}", exact=True)
    return project, page, card, card.get_by_role("button", name="Members")


def draw_again(site: Site, project: str, button: Locator, card: Locator) -> None:
    """Something changes, and the card that shows it is another one soon."""
    was = button.element_handle()
    set_member(site.database, project, "everybody", "test", False)
    expect(card).to_contain_text("Seen by nobody yet")
    assert not was.evaluate("button => button.isConnected")


def test_a_press_counts_whose_button_is_replaced_before_it_is_let_go(site: Site, browser: Browser):
    project, page, card, button = seen_by(site, browser)
    button.hover()
    page.mouse.down()
    draw_again(site, project, button, card)
    box = button.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.up()
    expect(page.locator("dialog#membership")).to_be_visible()
    expect(page.locator("dialog#membership")).to_contain_text(f"Project {project}")


def test_a_press_counts_that_is_under_way_while_the_page_is_drawn_again(site: Site, browser: Browser):
    project, page, card, button = seen_by(site, browser)
    page.evaluate("() => { window.held = []; window.socket.emit = (...message) => held.push(message); }")
    button.click()
    page.wait_for_function("held.length > 0")  # what the page says does not arrive, what it is told does
    draw_again(site, project, button, card)
    page.evaluate("() => { delete window.socket.emit; held.forEach((message) => window.socket.emit(...message)); }")
    expect(page.locator("dialog#membership")).to_be_visible()


def test_the_focus_stays_on_the_button_of_the_same_name(site: Site, browser: Browser):
    project, page, card, button = seen_by(site, browser)
    button.focus()
    draw_again(site, project, button, card)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("dialog#membership")).to_be_visible()


def test_a_press_is_about_the_action_that_was_shown(site: Site, browser: Browser):
    agent = site.database.accounts.create("pressing-agent", "a long password", "annotator")
    context = [Message("user", "Tidy up.")]
    page = site.visitor(browser, "reviewer")
    first = oversight.propose(site.database, agent, "agent", context, "rm -rf build", timeout=600.0)
    page.goto(f"{site.address}/oversight")
    expect(page.locator("pre")).to_have_text("rm -rf build")
    second = oversight.propose(site.database, agent, "agent", context, "rm -rf /", timeout=900.0)
    page.get_by_role("button", name="Approve").dblclick()
    expect(page.locator("pre")).to_have_text("rm -rf /")
    assert oversight.answer_to(site.database, first, agent)["state"] == "approved"
    page.get_by_role("button", name="Block").click()
    expect(page.locator("main")).to_contain_text("Nothing waits")
    assert oversight.answer_to(site.database, second, agent)["state"] == "blocked"
