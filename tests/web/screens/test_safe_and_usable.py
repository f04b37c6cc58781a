"""What people and models wrote does not run; everything has a name, can be read, and fits on a telephone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect
from site_under_test import PASSWORD, Site

SCRIPT = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'> [click](javascript:window.hacked=3) "
    "![pixel](https://example.org/pixel.png) <svg onload=window.hacked=4></svg> `<b onclick=x>` "
    "$\\href{javascript:window.hacked=5}{x}$ {{ window.hacked = 6 }} ${window.hacked=7}\n\n"
    "```html\n<script>window.hacked = 8</script>\n```\n"
)
EVERYTHING = (
    "[{kind: comparison}, {kind: rating, optional: true}, {kind: correction, optional: true}, "
    "{kind: comment, optional: true}, {kind: span, optional: true, values: [{value: wrong, title: '<b>Wrong</b>'}]}]"
)


def test_scripts_in_prompts_answers_and_projects_stay_text(site: Site, browser: Browser):
    row = {"prompt": SCRIPT, "answers": [SCRIPT, f"other {SCRIPT}"]}
    project = site.project(EVERYTHING, [row], "reasons: ['<i>clear</i>']")
    page = site.visitor(browser)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    site.open(page, project)
    for key in "vdm":
        page.keyboard.press(key)
        page.wait_for_timeout(300)
        assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main svg, main script, main iframe, main b, main i").count() == 0
    assert page.locator("main a[href^=javascript]").count() == 0
    assert all(url.startswith(site.address) or url.startswith("data:") for url in asked), asked


def test_a_script_that_is_smuggled_into_a_page_does_not_run(site: Site, browser: Browser):
    page = site.visitor(browser)
    page.goto(site.address)
    expect(page.locator("main h1")).to_have_text("Projects")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', `<img src=nothing onerror='window.hacked = 1'>`)")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 2'}))"
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None


UNNAMED = """() => [...document.querySelectorAll('input, textarea, select, button, summary, [role=region]')]
  .filter(e => e.getClientRects().length && !(e.labels?.length || e.ariaLabel || e.textContent.trim()
    || e.getAttribute('aria-labelledby')))
  .map(e => e.outerHTML.slice(0, 120))"""
"""What has no name for those who hear the page."""
PALE = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (e) => { for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor); if (c.length && (c[3] ?? 1) === 1) return c; } return [255, 255, 255]; };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.getClientRects().length || e.closest('.behind, [aria-hidden=true], script, style')) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) pale.push(`${((a + 0.05) / (b + 0.05)).toFixed(2)} ${node.data.trim().slice(0, 40)}`);
  }
  return pale;
}"""
"""Text whose contrast with its ground is below 4.5:1 (WCAG 2 AA)."""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_named_readable_and_fit(site: Site, browser: Browser, theme: str, width: int):
    long = "A-word-that-is-much-longer-than-a-telephone-is-wide-" * 3 + "\n\n```python\nx = 1  # comment\n```"
    project = site.project(EVERYTHING, [{"prompt": long, "answers": [long, "short"]}], "reasons: [clear]")
    steps = site.project("[{kind: step}]", [{"prompt": "?", "answers": ["One.\n\nTwo."]}])
    page = site.visitor(browser, viewport={"width": width, "height": 844}, color_scheme=theme)
    for place, keys in (("/", ""), (f"/work/{project}", "1vdm"), (f"/work/{steps}", "+")):
        page.goto(f"{site.address}{place}")
        expect(page.locator("main .card").first).to_be_visible()
        for key in ["", *keys]:
            if key:
                page.keyboard.press(key)
                page.wait_for_timeout(250)
            where = f"{place} {key}"
            assert page.evaluate(UNNAMED) == [], where
            assert page.evaluate(PALE) == [], where
            assert page.evaluate("document.documentElement.scrollWidth") <= width, where


def test_tab_goes_through_a_page_from_top_to_bottom(site: Site, browser: Browser):
    project = site.project(
        "[{kind: comparison}, {kind: comment, optional: true}]", [{"prompt": "?", "answers": ["a", "b"]}]
    )
    page = site.visitor(browser)
    site.open(page, project)
    page.get_by_role("link", name="Skip to content").focus()
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(document.activeElement.ariaLabel || document.activeElement.labels?.[0]?.textContent || document.activeElement.textContent).trim()"
            )
        )
        if seen[-1].startswith("Hand in"):
            break
    order = [
        "Custodes",
        "Projects",
        "Sign out",
        "Guidelines",
        "Prompt",
        "Answer A, text",
        "Answer B, text",
        "Comment",
        "Hand in",
    ]
    places = [next(n for n, name in enumerate(seen) if what in name) for what in order]
    assert places == sorted(places), seen


def test_the_door_lets_in_whom_it_should_and_leads_where_they_wanted(site: Site, browser: Browser):
    context = browser.new_context()
    page = context.new_page()
    invitation = site.database.accounts.invite("annotator", "test")
    page.goto(f"{site.address}/join?invitation={invitation}")
    expect(page.get_by_label("Invitation")).to_have_value(invitation)
    page.get_by_label("Choose a name").fill("newcomer")
    page.get_by_label("Choose a password").fill("short")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("too weak")
    page.get_by_label("Choose a password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_have_text("Projects")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(f"{site.address}/work/nothing")
    page.wait_for_url("**/sign-in?next=/work/nothing")
    page.get_by_label("Name").fill("newcomer")
    page.get_by_label("Password").fill("wrong password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/work/nothing")
    expect(page.locator("#said")).to_contain_text("There is no project")
    page.goto(f"{site.address}/sign-in?next=//evil.example/")
    page.get_by_label("Name").fill("newcomer")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_have_text("Projects")


def test_light_and_dark_are_remembered(site: Site, browser: Browser):
    page = site.visitor(browser, color_scheme="light")
    page.goto(site.address)
    ground = "getComputedStyle(document.body).backgroundColor"
    page.get_by_role("button", name="Light or dark").click()
    dark = page.evaluate(ground)
    page.reload()
    expect(page.locator("main h1")).to_have_text("Projects")
    assert page.evaluate(ground) == dark == "rgb(16, 21, 28)"
