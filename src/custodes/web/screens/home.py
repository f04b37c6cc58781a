"""The first page: the projects, and where one left off."""

from __future__ import annotations

from typing import Any

from custodes.web.access import ANY_ROLE, WORKERS, Rule
from custodes.web.flags import flags_of
from custodes.web.screens.pages import page
from custodes.web.screens.tags import tag
from custodes.web.screens.visits import Visit
from custodes.web.work import projects_of

MOST_FLAGS = 3
"""Answered flags that are shown with a project, the newest."""


@page("/", Rule(ANY_ROLE), "Projects", nav="Projects")
async def home(visit: Visit) -> None:
    projects = await visit.do(projects_of, visit.database, visit.account)
    flags = {p["name"]: await visit.do(flags_of, visit.database, p["name"], visit.account.id) for p in projects}
    if not projects:
        tag("p", "There is no project yet. A lead opens one with custodes project open.", "empty")
    with tag("ul", cls="cards"):
        for project in projects:
            with tag("li", cls="card"):
                _project(visit, project)
                for flag in [flag for flag in flags[project["name"]] if flag["answer"]][:MOST_FLAGS]:
                    tag("p", f"You flagged “{flag['prompt'][:60]}”: {flag['why']}", "quiet")
                    tag("p", f"Answer: {flag['answer'].rpartition(' (by ')[0]}")


def _project(visit: Visit, project: dict[str, Any]) -> None:
    tag("h2", project["title"])
    done, minutes = int(project["own"]["items"]), project["own"]["seconds"] / 60
    work = f"You have judged {done:,} in {minutes:,.0f} minutes." if done else "You have not judged anything here yet."
    tag("p", work)
    if project["closed"] is not None:
        tag("p", f"Ended: {project['closed']}.", "quiet")
    elif visit.account.role in WORKERS:
        about = {"href": f"/work/{project['name']}", "aria_label": f"Judge: {project['title']}"}
        tag("a", "Go on" if done else "Begin", "button main", **about)
