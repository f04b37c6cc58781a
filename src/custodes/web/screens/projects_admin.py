"""Projects for leads: opened from their YAML and tasks, watched while they run, ended, taken out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from nicegui import ui

from custodes.feedback.project import TEMPLATE
from custodes.web.access import LEADS, Rule
from custodes.web.accounts import Account
from custodes.web.database import Database
from custodes.web.export import EXPORT_FORMS
from custodes.web.members import members_of, set_member
from custodes.web.projects import close_project, open_project, progress_of
from custodes.web.screens import widgets
from custodes.web.screens.files import file_address
from custodes.web.screens.pages import page
from custodes.web.screens.tags import Tag, tag
from custodes.web.screens.visits import Visit
from custodes.web.work import projects_of

LOOK = 5.0
"""Seconds between looks at the progress."""
EXAMPLE = '{"prompt": "What is 2 + 2?", "answers": ["4.", "It is 5."]}'
SEND = """async () => {
  const tasks = [];
  for (const [n, line] of document.getElementById("tasks").value.split("\\n").entries()) {
    if (!line.trim()) continue;
    try { tasks.push(JSON.parse(line)); }
    catch (error) { return emit([0, `tasks, line ${n + 1}: not JSON (${error.message}).`]); }
  }
  const answer = await fetch("/api/projects", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": %s },
    body: JSON.stringify({ text: document.getElementById("yaml").value, tasks }),
  });
  const told = await answer.json();
  emit([answer.status, told.detail || told.name]);
}"""
"""What is large goes over HTTP, not through the page's socket."""
READ = "(e) => e.target.files[0]?.text().then((t) => (document.getElementById('%s').value = t))"


@page("/manage", Rule(LEADS), "Manage projects", nav="Manage")
async def manage(visit: Visit) -> None:
    ui.add_head_html(f'<link rel="stylesheet" href="{file_address("overseer.css")}">')
    await _Manage(visit).begin()


class _Manage:
    """Every project with how far it is, and the form that opens another."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.ending, self.why = visit, "", ""
        self.joining, self.name = "", ""
        self.shown: list[dict[str, Any]] | None = None
        with tag("div", cls="stack"):
            self.root: Tag = tag("div", cls="stack")
            with widgets.card("Open a project"):
                self._form()
        with widgets.dialog("membership", "Members"):
            self.whose = tag("p")
            widgets.line("Name, or everybody", "", self._named, maxlength=80, id="member-name", autofocus="")
            with tag("div", cls="actions-row"):
                widgets.button("Add", self._member(True), cls="main")
                widgets.button("Remove", self._member(False))
        with widgets.dialog("ending", "End the project"):
            self.question = tag("p")
            widgets.line("Why?", "", partial(setattr, self, "why"), maxlength=500, id="ending-why", autofocus="")
            widgets.button("End it", self._end, cls="danger")

    async def begin(self) -> None:
        ui.timer(LOOK, self.look, immediate=True)

    async def look(self, _: Any = None) -> None:
        async with self.visit.telling():
            found = await self.visit.do(_overview, self.visit.database, self.visit.account)
            if found != self.shown:
                self.shown = found
                self.root.clear()
                with self.root:
                    for project in found:
                        self._project(project)

    def _project(self, project: Mapping[str, Any]) -> None:
        name, title = project["name"], project["title"]
        with widgets.card(title):
            done, wanted = project["judgments"], project["wanted"]
            state = f"Ended: {project['closed']}." if project["closed"] is not None else "Open."
            tag("p", f"{name}. {state}", "quiet")
            about = f"{done:,} of {wanted:,} judgments of {title}"
            tag("progress", value=done, max=max(wanted, 1), aria_label=about, style="width: 100%")
            unsure = project["uncertainty"]
            more = (
                "" if unsure is None else f" The fitted preferences are wrong with probability {unsure:.3f} on average."
            )
            tag("p", f"{done:,} of {wanted:,} judgments, {project['hours']:.1f} hours of work.{more}")
            tag("p", f"Seen by {_members(project)}, and by leads and auditors.", "quiet")
            with tag("div", cls="actions-row"):
                tag("a", "Quality desk", "button", href=f"/desk/{name}", aria_label=f"Quality desk of {title}")
                for form in EXPORT_FORMS:
                    link = f"/api/projects/{name}/export/{form}"
                    tag(
                        "a", f"Export: {form}", "button", href=link, download="", aria_label=f"Export {title} as {form}"
                    )
                widgets.button("Members", partial(self._join, project), aria_label=f"Members of {title}")
                if project["closed"] is None:
                    widgets.button("End", partial(self._ask, project), cls="danger", aria_label=f"End {title}")

    def _form(self) -> None:
        with tag("div", cls="form"):
            for id_, label, value, rows, kinds in (
                ("yaml", "The project (YAML)", TEMPLATE, 16, ".yaml,.yml"),
                ("tasks", "Its tasks (JSONL, one per line)", EXAMPLE, 6, ".jsonl"),
            ):
                with tag("div", cls="text"):
                    tag("label", label, for_=id_)
                    tag("textarea", value, "mono", id=id_, rows=rows, wrap="off", spellcheck="false")
                    tag("label", f"or from a file ({kinds.replace(',', ' or ')})", "quiet", for_=f"{id_}-file")
                    tag("input", type="file", id=f"{id_}-file", accept=kinds).on("change", js_handler=READ % id_)
            with tag("div", cls="actions-row"):
                made = widgets.button("Check and open", cls="main")
                made.on("click", self._opened, js_handler=SEND % json.dumps(self.visit.csrf))
        self.told = tag("p", role="status", aria_live="polite")

    async def _opened(self, event: Any) -> None:
        status, said = event.args
        if status != 201:
            self.told.set_text(str(said))
            return self.visit.say(str(said), bad=True)
        self.told.set_text(f"The project {said} is open.")
        await self.look()

    def _join(self, project: Mapping[str, Any]) -> None:
        self.joining = project["name"]
        self.whose.set_text(f"“{project['title']}” is seen by {_members(project)}, and by leads and auditors.")
        self.visit.browser("custodes.open('membership')")

    def _named(self, name: str) -> None:
        self.name = name.strip().lower()

    def _member(self, member: bool) -> Callable[[], Awaitable[None]]:
        async def change() -> None:
            async with self.visit.telling():
                accounts = await self.visit.do(self.visit.database.accounts.all)
                found = next((account.id for account in accounts if account.name == self.name), self.name)
                given = (self.joining, found, self.visit.account.id, member)
                await self.visit.do(set_member, self.visit.database, *given)
                self.visit.say(f"{self.name} is {'a member' if member else 'no member any more'}.")
                await self.look()
                self.visit.close("membership", "member-name")

        return change

    def _ask(self, project: Mapping[str, Any]) -> None:
        self.ending = project["name"]
        self.question.set_text(f"No more items of “{project['title']}” are given out. It cannot be opened again.")
        self.visit.browser("custodes.open('ending')")

    async def _end(self) -> None:
        if not self.why.strip():
            return self.visit.say("say why.", bad=True)
        async with self.visit.telling():
            given = (self.ending, self.why.strip(), self.visit.account.id)
            await self.visit.do(close_project, self.visit.database, *given)
            self.why = ""
            self.visit.say("ended.")
            await self.look()
            self.visit.close("ending", "ending-why")


def _members(project: Mapping[str, Any]) -> str:
    names = project["members"]
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more if names else "nobody yet"


def _overview(database: Database, account: Account) -> list[dict[str, Any]]:
    """Every project with its progress, the newest first."""
    found = []
    names = {person.id: person.name for person in database.accounts.all()}
    for about in projects_of(database, account):
        members = sorted(names.get(id_, id_) for id_ in members_of(database, about["name"]))
        with database.reading() as connection:
            project, _, closed = open_project(connection, about["name"])
            progress = progress_of(connection, project)
        found.append(
            {
                "name": project.name,
                "title": project.title,
                "closed": closed,
                "judgments": progress.judgments,
                "wanted": progress.wanted,
                "hours": progress.hours,
                "uncertainty": progress.uncertainty,
                "members": members,
            }
        )
    return found[::-1]
