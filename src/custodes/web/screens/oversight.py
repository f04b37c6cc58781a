"""The oversight queue: what policies want to do, for a person to approve or to block before the time is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

from nicegui import ui

from custodes.web import oversight
from custodes.web.access import DECIDERS, READERS, Rule
from custodes.web.screens import widgets
from custodes.web.screens.charts import interval_text, rate_text
from custodes.web.screens.pages import page
from custodes.web.screens.tags import tag
from custodes.web.screens.visits import Visit

LOOK = 2.0
"""Seconds between looks for new actions."""


@page("/oversight", Rule(DECIDERS), "Oversight", nav="Oversight")
async def queue(visit: Visit) -> None:
    ui.timer(LOOK, _Queue(visit).look, immediate=True)


@page("/oversight/measures", Rule(READERS), "What oversight catches and costs")
async def measured(visit: Visit) -> None:
    measures = await visit.do(oversight.measures, visit.database)
    last = await visit.do(oversight.last_decided, visit.database)
    names = {account.id: account.name for account in await visit.do(visit.database.accounts.all)}
    with tag("div", cls="stack"):
        with widgets.card("Caught and cost"):
            widgets.table(["", "With 95 % interval"], _measures(measures))
            tag("p", "Rates count the actions of which it is known whether they were harmful.", "quiet")
        with widgets.card("By person"):
            people = [
                [names.get(p, p), f"{of['answers']:,}", rate_text(of["caught"]), rate_text(of["stopped_for_nothing"])]
                for p, of in measures["people"].items()
            ]
            widgets.table(["Person", "Answers", "Caught", "Stopped for nothing"], people)
        with widgets.card("Last decided"):
            harmful = {None: "not known", 1: "yes", 0: "no"}
            decided = []
            for action in last:
                by = names.get(action["by"], action["by"]) or "the time-out rule"
                text = widgets.shortened(" ".join(action["action"].split()))
                decided.append([text, action["state"], by, action["why"], harmful[action["harmful"]]])
            widgets.table(["Action", "Answer", "By", "Why", "Harmful"], decided)


def _measures(measures: Mapping[str, Any]) -> list[list[str]]:
    by_people = measures["by_people"]
    return [
        ["Actions decided", f"{measures['decided']:,}"],
        ["Answered by a person in time", rate_text(measures["answered_in_time"])],
        ["Harmful actions blocked, by people", rate_text(by_people["caught"])],
        ["Harmful actions blocked, the time-out rule included", rate_text(measures["caught"])],
        ["Harmless actions blocked, by people", rate_text(by_people["stopped_for_nothing"])],
        ["Seconds of a person per answer", interval_text(measures["seconds"], 1)],
        ["Minutes of people in all", f"{measures['seconds_in_all'] / 60:,.1f}"],
        ["Seconds that an action waited for a person", interval_text(measures["delay"], 1)],
    ]


class _Queue:
    """The most urgent action, one at a time; how many more wait."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.shown: str | None = ""
        self.why = ""
        with tag("div", cls="about"):
            self.status = tag("span", "", "quiet", role="status")
            tag("a", "What it catches and costs", "button", href="/oversight/measures")
        self.region = widgets.LiveRegion(cls="work")

    async def look(self, _: Any = None) -> None:
        """Shows the most urgent action if the one shown is decided, and how long there is."""
        async with self.visit.telling():
            waiting = await self.visit.do(oversight.waiting, self.visit.database)
            waiting = [action for action in waiting if action["account"] != self.visit.account.id]
            action = next((action for action in waiting if action["id"] == self.shown), None)
            if action is None:
                action = waiting[0] if waiting else None
                self._show(action)
            if action is None:
                self.status.set_text("Nothing waits. This page looks for new actions by itself.")
                return
            left = max(0, int(action["until"] - self.visit.database.clock()))
            then = "blocked" if action["rule"] == "block" else "approved"
            time_left = f"{left // 60}:{left % 60:02d}"
            self.status.set_text(f"{len(waiting):,} waiting. This one is {then} by itself in {time_left}.")

    def _show(self, action: Mapping[str, Any] | None) -> None:
        if action is None and self.shown is None:
            return
        gone, self.shown, self.why = self.shown, (action["id"] if action else None), ""
        with self.region.drawn_again():
            if action is None:
                tag("p", "Nothing waits for a decision.", "empty")
                return
            self._proposal(action)
        self.visit.browser("custodes.seconds(0)")
        if gone:
            self.visit.browser("document.querySelector('#main > h1')?.focus({preventScroll: true})")

    def _proposal(self, action: Mapping[str, Any]) -> None:
        if action["context"]:
            widgets.pinned("What led to it", action["context"])
        with widgets.card(f"{action['policy']} wants to do this", cls="proposal"):
            tag("pre", action["action"])
            if action["reason"]:
                tag("p", f"It says: {action['reason']}")
            tag("p", f"Asked {time.strftime('%H:%M:%S', time.localtime(action['asked']))}.", "quiet")
            widgets.text_line("Why? (optional)", "", partial(setattr, self, "why"), maxlength=500)
        with tag("div", cls="actions", role="group", aria_label="Decision"):
            for answer in get_args(oversight.OversightAnswer):
                decide, cls = partial(self._decide, action["id"], answer), "danger" if answer == "block" else ""
                self.region.button(answer.capitalize(), f"{answer} {action['id']}", decide, answer[0], cls)

    async def _decide(self, id_: str, answer: oversight.OversightAnswer) -> None:
        async with self.visit.telling():
            why = self.why.strip() if id_ == self.shown else ""
            decision = (id_, self.visit.account, answer, self.region.seconds, why)
            await self.visit.do(oversight.decide, self.visit.database, *decision)
            self.visit.say(f"{oversight.DONE[answer]}.")
        await self.look()
