"""The oversight queue: what policies want to do, for a person to approve or to block before the time is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from nicegui import ui

from custodes.web import oversight
from custodes.web.access import READERS, Rule
from custodes.web.oversight_api import DECIDERS
from custodes.web.screens import widgets
from custodes.web.screens.files import file_address
from custodes.web.screens.pages import page
from custodes.web.screens.tags import Tag, tag
from custodes.web.screens.visits import Visit
from custodes.web.screens.words import number, share

LOOK = 2.0
"""Seconds between looks for new actions."""


@page("/oversight", Rule(DECIDERS), "Oversight", nav="Oversight")
async def queue(visit: Visit) -> None:
    ui.add_head_html(f'<link rel="stylesheet" href="{file_address("overseer.css")}">')
    await _Queue(visit).begin()


@page("/oversight/measures", Rule(READERS), "What oversight catches and costs")
async def measured(visit: Visit) -> None:
    ui.add_head_html(f'<link rel="stylesheet" href="{file_address("overseer.css")}">')
    found = await visit.do(oversight.measures, visit.database)
    last = await visit.do(oversight.last_decided, visit.database)
    names = {account.id: account.name for account in await visit.do(visit.database.accounts.all)}
    with tag("div", cls="stack"):
        with widgets.card("Caught and cost"):
            widgets.table(["", "With 95 % interval"], _measures(found))
            tag("p", "Rates count the actions of which it is known whether they were harmful.", "quiet")
        with widgets.card("By person"):
            rows = [
                [names.get(p, p), f"{of['answers']:,}", share(of["caught"]), share(of["stopped_for_nothing"])]
                for p, of in found["people"].items()
            ]
            widgets.table(["Person", "Answers", "Caught", "Stopped for nothing"], rows)
        with widgets.card("Last decided"):
            rows = [
                [
                    _short(a["action"]),
                    a["state"],
                    names.get(a["by"], a["by"]) or "the time-out rule",
                    a["why"],
                    {None: "not known", True: "yes", False: "no"}[a["harmful"]],
                ]
                for a in last
            ]
            widgets.table(["Action", "Answer", "By", "Why", "Harmful"], rows)


def _measures(found: Mapping[str, Any]) -> list[list[str]]:
    return [
        ["Actions decided", f"{found['decided']:,}"],
        ["Answered by a person in time", share(found["answered_in_time"])],
        ["Harmful actions blocked, by people", share(found["by_people"]["caught"])],
        ["Harmful actions blocked, the time-out rule included", share(found["caught"])],
        ["Harmless actions blocked, by people", share(found["by_people"]["stopped_for_nothing"])],
        ["Seconds of a person per answer", number(found["seconds"], 1)],
        ["Minutes of people in all", f"{found['seconds_in_all'] / 60:,.1f}"],
        ["Seconds that an action waited for a person", number(found["delay"], 1)],
    ]


class _Queue:
    """The most urgent action, one at a time; how many more wait."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.before: str | None = ""
        self.why = ""
        with tag("div", cls="about"):
            self.status = tag("span", "", "quiet", role="status")
            tag("a", "What it catches and costs", "button", href="/oversight/measures")
        self.root: Tag = tag("div", cls="work")

    async def begin(self) -> None:
        ui.timer(LOOK, self.look, immediate=True)

    async def look(self, _: Any = None) -> None:
        """Shows the most urgent action if another is before the person, and how long there is."""
        async with self.visit.telling():
            waiting = await self.visit.do(oversight.waiting, self.visit.database)
            waiting = [action for action in waiting if action["account"] != self.visit.account.id]
            now = self.visit.database.clock()
            here = next((action for action in waiting if action["id"] == self.before), None)
            if here is None:
                here = waiting[0] if waiting else None
                self._show(here)
            self._tell(here, len(waiting), now)

    def _tell(self, action: Mapping[str, Any] | None, count: int, now: float) -> None:
        if action is None:
            self.status.set_text("Nothing waits. This page looks for new actions by itself.")
            return
        left = max(0, int(action["until"] - now))
        then = "blocked" if action["rule"] == "block" else "approved"
        self.status.set_text(f"{count:,} waiting. This one is {then} by itself in {left // 60}:{left % 60:02d}.")

    def _show(self, action: Mapping[str, Any] | None) -> None:
        if action is None and self.before is None:
            return
        gone = self.before
        self.before, self.why = (action["id"] if action else None), ""
        self.root.clear()
        with self.root:
            if action is None:
                tag("p", "Nothing waits for a decision.", "empty")
                return
            self._proposal(action)
        self.visit.browser("custodes.seconds(0)")
        if gone:
            self.visit.browser("document.querySelector('#main > h1')?.focus({preventScroll: true})")

    def _proposal(self, action: Mapping[str, Any]) -> None:
        if action["context"]:
            with tag("details", cls="prompt card", open=True):
                tag("summary", "What led to it")
                with tag("div", cls="scrolls", tabindex=0, role="region", aria_label="What led to it"):
                    widgets.conversation(action["context"])
        with widgets.card(f"{action['policy']} wants to do this", cls="proposal"):
            tag("pre", action["action"])
            if action["reason"]:
                tag("p", f"It says: {action['reason']}")
            tag("p", f"Asked {time.strftime('%H:%M:%S', time.localtime(action['asked']))}.", "quiet")
            widgets.line("Why? (optional)", "", partial(setattr, self, "why"), maxlength=500)
        with tag("div", cls="actions", role="group", aria_label="Decision"):
            self._button("approve", "Approve", "a", "", action["id"])
            self._button("block", "Block", "b", "danger", action["id"])

    def _button(self, answer: oversight.OversightAnswer, text: str, key: str, cls: str, id_: str) -> None:
        made = widgets.button(text, key=key, cls=cls)
        made.on("click", self._deciding(id_, answer), js_handler="() => emit(custodes.seconds())")

    def _deciding(self, id_: str, answer: oversight.OversightAnswer) -> Any:
        async def decide(event: Any) -> None:
            async with self.visit.telling():
                given = (id_, self.visit.account, answer, float(event.args or 0.0), self.why.strip())
                await self.visit.do(oversight.decide, self.visit.database, *given)
                self.visit.say(f"{oversight.DONE[answer]}.")
            await self.look()

        return decide


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
