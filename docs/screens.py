"""Makes the pictures of the work screens in docs/images/screens: python docs/screens.py [--all]

Starts a server on a database of its own, fills it with a few projects, and photographs every screen with headless
Chromium: light at 1280 pixels and dark at 390; with --all also dark at 1280 and light at 390.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.web.access import COOKIE
from custodes.web.app import create_app
from custodes.web.database import ServerDatabase
from custodes.web.projects import create_project

FOLDER = Path(__file__).parent / "images" / "screens"
PASSWORD = "a long password"
ANNOTATORS = ["mara", "noor", "kim", "ada"]
LOOKS = [("light", 1280), ("dark", 390), ("dark", 1280), ("light", 390)]

GUIDELINES = """\
guidelines:
  version: "2"
  text: |
    Prefer the answer that a person with this question would rather have got.

    - **Right before pretty.** A wrong answer in good prose is a wrong answer.
    - Length is no merit.
    - When both are wrong, say so.
"""
COMPARE = """\
name: tutoring
title: Which explanation helps more?
tasks: ""
axes:
  - {name: truthful, title: Truthfulness, low: says false things, high: everything it says is so}
questions:
  - {kind: comparison}
  - {kind: rating, axis: truthful, optional: true}
  - kind: span
    values:
      - {value: wrong, title: Wrong}
      - {value: unclear, title: Unclear}
      - {value: padding, title: Padding}
    optional: true
  - {kind: correction, answers: 2, optional: true}
  - {kind: comment, optional: true}
reasons: [correct, complete, clear, short, polite]
assignment: {overlap: 4, gold_share: 0.0, repeat_share: 0.0}
"""
STEPS = """\
name: proofs
title: Is every step right?
tasks: ""
questions: [{kind: step}]
assignment: {overlap: 4, gold_share: 0.0, repeat_share: 0.0}
"""
RATE = """\
name: support
title: Customer support, quality of replies
tasks: ""
axes:
  - {name: helpful, title: Helpfulness, low: does not help, high: solves the problem}
  - {name: tone, title: Tone, low: rude, high: friendly and to the point}
questions:
  - {kind: rating, axis: helpful}
  - {kind: rating, axis: tone}
  - kind: label
    name: sendable
    values: [{value: "yes", title: I would send this}, {value: "no", title: I would not send this}]
  - {kind: comment, optional: true}
assignment: {overlap: 4, gold_share: 0.0, repeat_share: 0.0}
"""
RANK = """\
name: titles
title: Rank the titles
tasks: ""
questions: [{kind: ranking, answers: 4}]
assignment: {overlap: 4, gold_share: 0.0, repeat_share: 0.0}
"""
CORRECT = """\
name: edits
title: Correct the summary
tasks: ""
questions: [{kind: correction}]
assignment: {overlap: 4, gold_share: 0.0, repeat_share: 0.0}
"""
DEMONSTRATE = """\
name: answers
title: Write a good answer
tasks: ""
questions: [{kind: demonstration}]
assignment: {overlap: 4, gold_share: 0.0, repeat_share: 0.0}
"""
SPANS = """\
name: passages
title: Mark what is wrong
tasks: ""
questions:
  - kind: span
    values: [{value: wrong, title: Wrong}, {value: unsupported, title: Not supported}, {value: style, title: Style}]
assignment: {overlap: 4, gold_share: 0.0, repeat_share: 0.0}
"""

GOOD = """\
Binary search halves what is left with every look, so a sorted list of $n$ entries takes at most $\\lceil \\log_2 n \\rceil$ looks:

```python
def find(sorted_list, wanted):
    low, high = 0, len(sorted_list)
    while low < high:
        middle = (low + high) // 2
        if sorted_list[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < len(sorted_list) and sorted_list[low] == wanted else None
```

For a million entries that is 20 looks. If the list is **not sorted**, it finds nothing reliably.
"""
LESS = """\
Binary search halves what is left with every look, so a list of $n$ entries takes about $\\frac{n}{2}$ looks on average:

```python
def find(entries, wanted):
    for place, entry in enumerate(entries):
        if entry == wanted:
            return place
    return None
```

That is the best one can do. It works on every list, sorted or not, and it is a very popular and well-known method that many people all over the world use every day.
"""
SUM = """\
Let $n$ be odd, so $n = 2k + 1$ for some whole number $k$.

Then $n^2 = (2k + 1)^2 = 4k^2 + 4k + 1$.

$4k^2 + 4k = 4k(k + 1)$, and one of $k$ and $k + 1$ is even, so it is divisible by 8.

Hence $n^2$ leaves the remainder $1$ when divided by $16$.

In particular $n^2$ is odd.
"""
REPLY = """\
Hello Mira,

your parcel left our warehouse on Tuesday and is at the customs office in Leipzig. They ask for the invoice. You find it under **Orders → 4711 → Invoice**; please forward it to the address in their letter. After that it usually takes two days.

Kind regards
"""
SUMMARY = """\
The council voted 7 to 4 for the new cycle path. It will be built in 2027 and costs 3.2 million euros, all of it paid by the state. Residents had no objections.
"""

PROJECTS = [
    (COMPARE, [{"prompt": "How does binary search work, and how long does it take?", "answers": [GOOD, LESS]}]),
    (
        STEPS,
        [
            {
                "prompt": "Show that the square of an odd number leaves the remainder 1 when divided by 8.",
                "answers": [SUM],
            }
        ],
    ),
    (
        RATE,
        [{"prompt": "Where is my parcel? Order 4711, it should have been here on Monday. Mira", "answers": [REPLY]}],
    ),
    (
        RANK,
        [
            {
                "prompt": "Title for an article about bees that sleep in flowers",
                "answers": [
                    "Where bees spend the night",
                    "Bees: all you need to know!",
                    "Good night, bee",
                    "On apian repose",
                ],
            }
        ],
    ),
    (CORRECT, [{"prompt": "Summarise the council's decision on the cycle path.", "answers": [SUMMARY]}]),
    (DEMONSTRATE, [{"prompt": "My bread does not rise. What can I do?"}]),
    (SPANS, [{"prompt": "Summarise the council's decision on the cycle path.", "answers": [SUMMARY]}]),
]


@contextmanager
def server(database: ServerDatabase) -> Iterator[str]:
    """Address of a server in this process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(create_app(database), port=port, log_level="error"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.should_exit = True
        thread.join()


def fill(database: ServerDatabase) -> None:
    """People and projects."""
    for name in ANNOTATORS:
        database.accounts.create(name, PASSWORD, "annotator")
    for text, rows in PROJECTS:
        text = text.replace("questions:", GUIDELINES + "members: everybody\nquestions:", 1)
        create_project(database, text, items_from_rows(parse_project(text), rows), "lea")


def pictures(page: Page, address: str, name: str) -> None:
    """Every screen as ``name`` (light-1280, say) sees it."""

    def take(screen: str) -> None:
        page.wait_for_timeout(250)
        page.screenshot(path=FOLDER / f"{screen}-{name}.png", animations="disabled")

    def work(project: str) -> None:
        page.goto(f"{address}/work/{project}")
        page.wait_for_selector("[data-hand-in]")

    page.goto(f"{address}/")
    page.wait_for_selector(".card")
    take("projects")
    work("tutoring")
    page.keyboard.press("2")
    page.keyboard.press("6")
    page.keyboard.press("2")
    take("compare")
    page.keyboard.press("d")
    page.wait_for_selector(".answer mark")
    take("compare-differences")
    page.keyboard.press("g")
    take("guidelines")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    take("keys")
    page.keyboard.press("Escape")
    work("proofs")
    for key in "+++-":
        page.keyboard.press(key)
    take("steps")
    work("support")
    for key in "661":
        page.keyboard.press(key)
    take("rate")
    work("titles")
    for key in "1423":
        page.keyboard.press(key)
    take("rank")
    work("edits")
    take("correct")
    work("answers")
    page.fill(
        "textarea", "Three things usually keep bread from rising:\n\n1. The yeast is old. Try some in warm water first."
    )
    take("demonstrate")
    work("passages")
    for start, end, key in ((69, 73, "1"), (103, 130, "2")):
        page.eval_on_selector("[data-marks]", "(f, [a, b]) => { f.focus(); f.setSelectionRange(a, b); }", [start, end])
        page.keyboard.press(key)
        page.wait_for_timeout(200)
    take("spans")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        database = ServerDatabase(Path(folder) / "custodes.db")
        fill(database)
        browser: Browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        with server(database) as address:
            wanted = LOOKS if "--all" in sys.argv else LOOKS[:2]
            for name, (theme, width) in zip(ANNOTATORS, wanted, strict=False):
                _, session = database.accounts.log_in(name, PASSWORD, "here")
                looks = {"viewport": {"width": width, "height": 860}, "color_scheme": theme}
                context = browser.new_context(**looks)  # type: ignore[arg-type]
                page = context.new_page()
                page.on("pageerror", lambda error: print(error, file=sys.stderr))
                page.on("console", lambda message: print(message.type, message.text, file=sys.stderr))
                page.goto(f"{address}/sign-in")
                page.screenshot(path=FOLDER / f"sign-in-{theme}-{width}.png")
                context.add_cookies([{"name": COOKIE, "value": session.secret, "url": address}])
                pictures(page, address, f"{theme}-{width}")
                context.close()
        browser.close()
        database.close()


if __name__ == "__main__":
    main()
