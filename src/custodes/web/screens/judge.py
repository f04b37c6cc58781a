"""The work screen: one item after the other, judged and handed in.

The project's questions decide which widgets are on it. Every change is saved as a draft a moment later. A judgment is
acknowledged once it has been committed, by the same functions as the API's.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from nicegui import background_tasks, ui

from custodes.feedback.questions import REASONS, AnswerForm, Incomplete
from custodes.types import InputError
from custodes.web import work
from custodes.web.access import WORKERS, Rule
from custodes.web.formatting.renderer import in_thread, to_html
from custodes.web.refresh import is_due, refresh
from custodes.web.screens import widgets
from custodes.web.screens.answer_view import AnswerView
from custodes.web.screens.pages import page
from custodes.web.screens.question_widget import widgets_of
from custodes.web.screens.tags import Tag, tag
from custodes.web.screens.visits import Visit

SAVE_AFTER = 0.4
"""Seconds after a change until it is saved, with what was changed meanwhile."""
FORMATTED_WITHIN = 0.5
"""Seconds."""
NOTE_EVERY = 60.0
"""Seconds of work after which the draft is saved though nothing was changed: the item stays the person's."""
HAND_IN = "() => custodes.handIn(emit)"


@page("/work/{project}", Rule(WORKERS), "Judge")
async def judge(visit: Visit, project: str) -> None:
    screen = _WorkScreen(visit, project)
    async with visit.telling():
        await screen.next()


class _WorkScreen:
    """Somebody at work on a project: the item before them, and what they have entered about it."""

    def __init__(self, visit: Visit, project: str) -> None:
        self.visit, self.project = visit, project
        self.form = AnswerForm({})
        self.revising = False
        self.seconds = 0.0
        self._version = self._saved = 0
        self._saver: asyncio.Task[None] | None = None
        self._noted = 0.0
        self.root: Tag = tag("div", cls="work")
        ui.on("seconds", self._tick)
        self.status: Tag

    # ------------------------------------------------------------ what lies before the person

    async def next(self) -> None:
        """The next item, or why there is none. Raises MissingError for an unknown project."""
        item, why = await self.visit.do(work.claim, self.visit.database, self.project, self.visit.account)
        await self._begin(item, why)

    async def undo(self, _: Any = None) -> None:
        """What was handed in last, to correct it."""
        async with self.visit.telling():
            await self._settle()
            item = await self.visit.do(work.last, self.visit.database, self.project, self.visit.account)
            if item is None:
                return self.visit.say("you have handed in nothing here yet.")
            await self._begin(item, "", revising=True)
            self.visit.say("this is what you handed in last; correct it and hand it in again.")

    async def _begin(self, item: dict[str, Any] | None, why: str, revising: bool = False) -> None:
        own = await self.visit.do(work.own_work, self.visit.database, self.project, self.visit.account.id)
        await _format(item)
        self.revising, self._version, self._saved = revising, 0, 0
        self.root.clear()
        self.root.set(data_form=item["assignment"] if item else None)
        with self.root:
            if item is None:
                self.form = AnswerForm({})
                self._nothing(own, why)
                self.visit.browser("custodes.begin()")
                return
            self.form = AnswerForm.of(item)
            draft = item["draft"] or {}
            self.seconds = float(draft.get("seconds", 0.0)) if draft.get("stage") == item["stage"] else 0.0
            self._noted = self.seconds
            self._show(item, own)
        start = json.dumps(0 if revising else self.seconds)
        self.visit.browser(f"custodes.seconds({start}); custodes.putBack(); custodes.begin()")

    def _nothing(self, own: dict[str, float], why: str) -> None:
        self.visit.heading.set_text("Nothing to judge")
        tag("p", why[:1].upper() + why[1:], "empty")
        with tag("p", cls="empty"):
            if own["items"]:
                widgets.button("Correct the last one", self.undo, "z")
            tag("a", "To your projects", "button", href="/")

    def _show(self, item: dict[str, Any], own: dict[str, float]) -> None:
        self.visit.heading.set_text(item["title"])
        with tag("div", cls="about"):
            done = f"{own['items']:,.0f} handed in · {own['seconds'] / 60:,.0f} min"
            tag("span", f"Correcting the last one · {done}" if self.revising else done, "quiet", data_progress="")
            widgets.opener(f"Guidelines, version {item['guidelines']['version']}", "guidelines", "g")
        widgets.pinned("Prompt", item["prompt"])
        self._notes(item)
        asked = widgets_of(self.form, self.changed)
        alone = len(item["answers"]) == 1 and len({type(one) for one in asked}) == 1 and asked[0].shows_answer
        if item["answers"] and not alone:
            AnswerView(self.form, asked)
        with widgets.card("Your judgment", cls="questions"):
            for one in asked:
                one.show()
            if item["reasons"]:
                take = partial(self.changed, REASONS)
                widgets.chips("Why", item["reasons"], self.form.reasons, take, REASONS)
        self._actions()
        with widgets.dialog("guidelines", f"Guidelines, version {item['guidelines']['version']}", "drawer"):
            widgets.markdown(item["guidelines"]["text"])
        for id_, title, flag in (("skipping", "Skip this item", False), ("flagging", "Something is wrong here", True)):
            self._leave(id_, title, flag)

    def _notes(self, item: Mapping[str, Any]) -> None:
        """What a person is told besides prompt and answers: the known truth where they rate others, and help."""
        if item["reference"]:
            with widgets.card("What is known, for you alone", cls="note"):
                widgets.markdown(item["reference"])
        if item["stage"] == "alone":
            with tag("div", cls="note", data_stage="alone"):
                tag("p", "First judge alone. Then help is shown, and you can stay with your judgment or change it.")
        elif item["assistance"]:
            with widgets.card("Help", cls="note"):
                if item["stage"] == "assisted":
                    tag(
                        "p",
                        "Below is what you said alone. Change it, or hand it in again as it is.",
                        data_stage="assisted",
                    )
                else:
                    tag("p", "Somebody else's remarks. They may be wrong: judge for yourself.", data_stage="helped")
                widgets.markdown(item["assistance"])
                for place, test in enumerate(item["tests"]):
                    self._test(place, test)

    def _test(self, place: int, test: str) -> None:
        """A test that fails, and the button that runs it again."""
        with tag("div", cls="test"):
            tag("p", "A test that fails. It is run in a sandbox on the server.", "quiet")
            with tag("div", data_test=place):
                widgets.markdown(_fenced(test))
            came = tag("p", "", "came", role="status", aria_live="polite", data_came=place)

            async def run() -> None:
                came.set_text("Running…")
                try:
                    arguments = (self.visit.database, self.form.item["assignment"], self.visit.account, place)
                    came.set_text(await self.visit.do(work.run_test_again, *arguments))
                except InputError as error:
                    came.set_text(str(error))

            widgets.button("Run it again", run, data_run=place)

    def _actions(self) -> None:
        with tag("div", cls="actions", role="group", aria_label="Actions", data_global=""):
            self.status = tag("span", "", "status", role="status", aria_live="polite")
            if self.revising:
                widgets.button("Leave as it was", self._leave_it, "Escape")
            else:
                widgets.button("Undo", self.undo, "z", title="Correct what you handed in last")
                widgets.opener("Flag", "flagging", "f")
                widgets.opener("Skip", "skipping", "s")
            made = widgets.button("Hand in", key="Enter", cls="main", data_hand_in="")
            made.on("click", lambda e: self.hand_in(e.args["seconds"], e.args["texts"]), js_handler=HAND_IN)

    def _leave(self, id_: str, title: str, flag: bool) -> None:
        with widgets.dialog(id_, title):
            goes = "It goes to a lead, with what you say." if flag else "Somebody else gets it."
            tag("p", f"{goes} You get another one.")
            widgets.text_line("What is wrong?" if flag else "Why? (optional)", maxlength=500, id=f"{id_}-why")
            made = widgets.button("Flag and go on" if flag else "Skip", cls="main")
            js = f"() => emit(document.getElementById('{id_}-why').value)"
            made.on("click", lambda e: self.skip(str(e.args), flag), js_handler=js)

    # ------------------------------------------------------------ what is entered

    def changed(self, name: str, value: str) -> None:
        """A value of the form, saved soon."""
        if self.form.values.get(name, "") == value:
            return
        self.form.values[name] = value
        self._save_soon()

    def _tick(self, event: Any) -> None:
        """The browser says how long the person has worked on this, every few seconds while they do."""
        self.seconds = float(event.args)
        if self.form.item and not 0 <= self.seconds - self._noted < NOTE_EVERY:
            self._noted = self.seconds
            self._save_soon()

    def _save_soon(self) -> None:
        self._version += 1
        if self._saver is None or self._saver.done():
            self._saver = background_tasks.create(self._save(), name="draft")

    async def _save(self) -> None:
        while self._saved != self._version:
            await asyncio.sleep(SAVE_AFTER)
            form, version, values = self.form, self._version, dict(self.form.values)
            try:
                draft = (form.item["assignment"], self.visit.account, form.draft(self.seconds))
                await self.visit.do(work.keep_draft, self.visit.database, *draft)
            except Exception as error:
                self.status.set_text(f"Not saved: {error}")
                return
            if form is not self.form:  # another item is before the person by now
                continue
            self._saved = version
            self.visit.browser(f"custodes.saved({json.dumps(form.item['assignment'])}, {json.dumps(values)})")
            self.status.set_text(f"Saved {time.strftime('%H:%M:%S')}")

    async def _settle(self) -> None:
        """Waits for what is being saved."""
        if self._saver is not None and not self._saver.done():
            await asyncio.wait([self._saver])

    # ------------------------------------------------------------ done with it

    async def hand_in(self, seconds: float, texts: Mapping[str, str]) -> None:
        """``texts`` are the fields as they stand: the last letters may not have come by themselves."""
        self.form.values |= {str(name): str(value) for name, value in texts.items()}
        try:
            answers = self.form.answers()
        except Incomplete as missing:
            self.visit.browser(f"custodes.go({json.dumps(missing.row)})")
            return self.visit.say(str(missing), bad=True)
        self.seconds = seconds
        await self._settle()
        async with self.visit.telling():
            database, id_ = self.visit.database, self.form.item["assignment"]
            judgment = (answers, seconds, self.form.reasons, "", self.revising, self.form.item.get("stage"))
            await self.visit.do(work.hand_in, database, id_, self.visit.account, *judgment)
            self.visit.browser(f"custodes.forget({json.dumps(id_)})")
            if (name := await self.visit.do(is_due, database, id_)) is not None:
                background_tasks.create(self.visit.do(refresh, database, name), name=f"refresh {name}")
            await self.next()
            self.visit.say("handed in.")

    async def skip(self, why: str, flag: bool) -> None:
        """The dialog in which this was pressed goes with the item."""
        if flag and not why.strip():
            return self.visit.say("say what is wrong with it.", bad=True)
        async with self.visit.telling():
            await self._settle()
            id_ = self.form.item["assignment"]
            await self.visit.do(work.skip, self.visit.database, id_, self.visit.account, why.strip(), flag)
            self.visit.browser(f"custodes.forget({json.dumps(id_)})")
            await self.next()
            self.visit.say("flagged." if flag else "skipped.")

    async def _leave_it(self) -> None:
        async with self.visit.telling():
            self.visit.browser(f"custodes.forget({json.dumps(self.form.item['assignment'])})")
            await self.next()


def _fenced(code: str) -> str:
    """Code as a block of Markdown, whatever backticks are in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{fence}python\n{code.strip()}\n{fence}"


async def _format(item: Mapping[str, Any] | None) -> None:
    """Has an item's texts formatted before they are shown; what takes longer than usual is shown as it was written first."""
    if item is not None:
        messages = [message for some in (item["prompt"], *item["answers"]) for message in some]
        texts = {m["content"] for m in messages} | {item["reference"], item["assistance"], item["guidelines"]["text"]}
        texts |= {_fenced(test) for test in item["tests"]}
        await asyncio.wait([asyncio.create_task(in_thread(to_html, text)) for text in texts], timeout=FORMATTED_WITHIN)
