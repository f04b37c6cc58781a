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
from custodes.web.database import ServerDatabase
from custodes.web.export import EXPORT_FORMS
from custodes.web.people import members_of, set_member
from custodes.web.projects import close_project, open_project, progress_of
from custodes.web.screens import widgets
from custodes.web.screens.pages import page
from custodes.web.screens.tags import tag
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
  const result = await answer.json();
  emit([answer.status, result.detail || result.name]);
}"""
"""What is large goes over HTTP, not through the page's socket."""
READ = "(e) => e.target.files[0]?.text().then((t) => (document.getElementById('%s').value = t))"


@page("/manage", Rule(LEADS), "Manage projects", nav="Manage")
async def manage(visit: Visit) -> None:
    ui.timer(LOOK, _Manage(visit).look, immediate=True)


class _Manage:
    """Every project with how far it is, and the form that opens another."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.project = visit, ""  # the project that a dialog is about
        self.why, self.member = "", ""
        self.shown: list[dict[str, Any]] | None = None
        with tag("div", cls="stack"):
            self.region = widgets.LiveRegion(cls="stack")
            with widgets.card("Open a project"):
                self._form()
        with widgets.dialog("membership", "Members"):
            self.members = tag("p")
            take = partial(setattr, self, "member")
            widgets.text_line("Name, or everybody", "", take, maxlength=80, id="member-name", autofocus="")
            with tag("div", cls="actions-row"):
                widgets.button("Add", self._change_member(True), cls="main")
                widgets.button("Remove", self._change_member(False))
        with widgets.dialog("ending", "End the project"):
            self.question = tag("p")
            widgets.text_line("Why?", "", partial(setattr, self, "why"), maxlength=500, id="ending-why", autofocus="")
            widgets.button("End it", self._end, cls="danger")

    async def look(self, _: Any = None) -> None:
        async with self.visit.telling():
            projects = await self.visit.do(_overview, self.visit.database, self.visit.account)
            if projects != self.shown:
                self.shown = projects
                with self.region.drawn_again():
                    for project in projects:
                        self._project(project)

    def _project(self, project: Mapping[str, Any]) -> None:
        name, title = project["name"], project["title"]
        with widgets.card(title):
            done, wanted = project["judgments"], project["wanted"]
            state = f"Ended: {project['closed']}." if project["closed"] is not None else "Open."
            tag("p", f"{name}. {state}", "quiet")
            about = f"{done:,} of {wanted:,} judgments of {title}"
            tag("progress", value=done, max=max(wanted, 1), aria_label=about, style="width: 100%")
            text = f"{done:,} of {wanted:,} judgments, {project['hours']:.1f} hours of work."
            if (wrong := project["uncertainty"]) is not None:
                text += f" The fitted preferences are wrong with probability {wrong:.3f} on average."
            tag("p", text)
            tag("p", f"Seen by {_members(project)}, and by leads and auditors.", "quiet")
            with tag("div", cls="actions-row"):
                tag("a", "Quality desk", "button", href=f"/desk/{name}", aria_label=f"Quality desk of {title}")
                for form in EXPORT_FORMS:
                    link = {"href": f"/api/projects/{name}/export/{form}", "aria_label": f"Export {title} as {form}"}
                    tag("a", f"Export: {form}", "button", download="", **link)
                ask = partial(self._ask_member, project)
                self.region.button("Members", f"members {name}", ask, aria_label=f"Members of {title}")
                if project["closed"] is None:
                    ask = partial(self._ask_end, project)
                    self.region.button("End", f"end {name}", ask, cls="danger", aria_label=f"End {title}")

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
        self.result = tag("p", role="status", aria_live="polite")

    async def _opened(self, event: Any) -> None:
        status, result = event.args
        self.result.set_text(f"The project {result} is open." if status == 201 else str(result))
        if status != 201:
            return self.visit.say(str(result), bad=True)
        await self.look()

    def _ask_member(self, project: Mapping[str, Any]) -> None:
        self.project = project["name"]
        self.members.set_text(f"“{project['title']}” is seen by {_members(project)}, and by leads and auditors.")
        self.visit.browser("custodes.open('membership')")

    def _change_member(self, member: bool) -> Callable[[], Awaitable[None]]:
        async def change() -> None:
            async with self.visit.telling():
                name = self.member.strip().lower()
                accounts = await self.visit.do(self.visit.database.accounts.all)
                id_ = next((account.id for account in accounts if account.name == name), name)
                membership = (self.project, id_, self.visit.account.id, member)
                await self.visit.do(set_member, self.visit.database, *membership)
                self.member = ""
                await self.look()
                self.visit.say(f"{name} is {'a member' if member else 'no member any more'}.")
                self.visit.close("membership", "member-name")

        return change

    def _ask_end(self, project: Mapping[str, Any]) -> None:
        self.project = project["name"]
        self.question.set_text(f"No more items of “{project['title']}” are given out. It cannot be opened again.")
        self.visit.browser("custodes.open('ending')")

    async def _end(self) -> None:
        if not self.why.strip():
            return self.visit.say("say why.", bad=True)
        async with self.visit.telling():
            ending = (self.project, self.why.strip(), self.visit.account.id)
            await self.visit.do(close_project, self.visit.database, *ending)
            self.why = ""
            await self.look()
            self.visit.say("ended.")
            self.visit.close("ending", "ending-why")


def _members(project: Mapping[str, Any]) -> str:
    names = project["members"]
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more if names else "nobody yet"


def _overview(database: ServerDatabase, account: Account) -> list[dict[str, Any]]:
    """Every project with its progress, the newest first."""
    projects = []
    names = {person.id: person.name for person in database.accounts.all()}
    for about in projects_of(database, account):
        with database.reading() as connection:
            project, _, closed = open_project(connection, about["name"])
            progress = progress_of(connection, project)
        row = {"name": project.name, "title": project.title, "closed": closed}
        row |= {field: getattr(progress, field) for field in ("judgments", "wanted", "hours", "uncertainty")}
        members = sorted(names.get(id_, id_) for id_ in members_of(database, project.name))
        projects.append({**row, "members": members})
    return projects[::-1]
