"""Texts that were made to stop a server, or that run the other way, in a browser."""

from __future__ import annotations

import time

import httpx
from playwright.sync_api import Browser, expect
from site_under_test import Site

from custodes.web.formatting.renderer import AS_WRITTEN

SLOW = "```java\n" + "a " * 24_000 + "\n```"
BRACKETS = "\\[ a\n\n" * 1_500
ARABIC = "السماء زرقاء (جدا) 1.\n\nand **English** after it."


def test_a_hostile_answer_is_shown_and_holds_nobody_up(site: Site, browser: Browser):
    project = site.project("[{kind: comparison}]", [{"prompt": BRACKETS, "answers": [SLOW, f"{SLOW} too"]}])
    page = site.visitor(browser)
    page.goto(f"{site.address}/work/{project}")
    slowest = 0.0
    for _ in range(20):  # while it is formatted
        began = time.monotonic()
        assert httpx.get(f"{site.address}/api/health", timeout=60).status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    expect(page.locator(".answer", has_text=AS_WRITTEN)).to_have_count(2)
    assert slowest < 20, slowest  # it was minutes; a busy machine is no defect
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    assert len(site.judgments(project)) == 1


def test_answers_too_long_to_be_compared_say_so(site: Site, browser: Browser):
    answers = [" ".join(f"{side}{n}" for n in range(10_500)) for side in ("a", "b")]
    project = site.project("[{kind: comparison}]", [{"prompt": "?", "answers": answers}])
    page = site.visitor(browser)
    site.open(page, project)
    page.keyboard.press("d")
    expect(page.locator(".answer .quiet", has_text="too long to be compared")).to_have_count(2)
    assert page.locator(".answer mark").count() == 0


def test_long_answers_differ_in_what_differs(site: Site, browser: Browser):
    words = [f"word{n}" for n in range(4_000)]
    answers = [" ".join(words), " ".join([*words[:3_000], "other", *words[3_001:]])]
    project = site.project("[{kind: comparison}]", [{"prompt": "?", "answers": answers}])
    page = site.visitor(browser)
    site.open(page, project)
    page.keyboard.press("d")
    expect(page.locator(".answer mark")).to_have_count(2)
    assert set(page.locator(".answer mark").all_inner_texts()) == {"word3000", "other"}


def test_every_paragraph_runs_in_the_direction_of_its_letters(site: Site, browser: Browser):
    asked = "[{kind: comparison}, {kind: span, optional: true, values: [{value: x, title: X}]}, {kind: comment, optional: true}]"
    project = site.project(asked, [{"prompt": ARABIC, "answers": [ARABIC, "English."]}])
    page = site.visitor(browser)
    site.open(page, project)
    assert page.locator(".prompt .prose").get_attribute("dir") == "auto"
    sides = """e => { const range = document.createRange(); range.selectNodeContents(e);
      const [text, box] = [range.getBoundingClientRect(), e.getBoundingClientRect()];
      return box.right - text.right < text.left - box.left ? "right" : "left"; }"""
    paragraphs = page.locator("[dir=auto] p", has_text="English after it")
    assert page.locator(".prompt p", has_text="السماء").first.evaluate(sides) == "right"
    assert paragraphs.first.evaluate(sides) == "left"
    page.keyboard.press("m")
    expect(page.locator("textarea[data-marks]").first).to_have_attribute("dir", "auto")
    for place in ("textarea[data-marks]", ".behind", "textarea[data-keep]"):
        assert page.locator(place).first.get_attribute("dir") == "auto", place
        assert page.locator(place).first.evaluate("e => getComputedStyle(e).unicodeBidi") == "plaintext", place
