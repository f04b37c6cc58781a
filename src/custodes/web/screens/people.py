"""People: inviting, letting in and shutting out, for leads; who came in and who read what, for auditors too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from custodes.web.access import LEADS, Rule
from custodes.web.accounts import ACCOUNT_ROLES, Account
from custodes.web.api import OVERSEERS
from custodes.web.people import access_log, disable, invite, parse_profile
from custodes.web.screens import widgets
from custodes.web.screens.files import file_address
from custodes.web.screens.pages import page
from custodes.web.screens.tags import Tag, tag
from custodes.web.screens.visits import Visit

MAY = {
    "annotator": "judges",
    "reviewer": "judges, reads progress and judgments, decides on proposed actions",
    "lead": "all of it: invites, opens projects, sees the quality desk",
    "auditor": "reads judgments, accounts and the access log; changes nothing",
}


@page("/people", Rule(LEADS), "People", nav="People")
async def people(visit: Visit) -> None:
    ui.add_head_html(f'<link rel="stylesheet" href="{file_address("overseer.css")}">')
    await _People(visit).begin()


@page("/people/access", Rule(OVERSEERS), "Access log", nav="Access log")
async def log(visit: Visit) -> None:
    ui.add_head_html(f'<link rel="stylesheet" href="{file_address("overseer.css")}">')
    entries = await visit.do(access_log, visit.database)
    names = {account.id: account.name for account in await visit.do(visit.database.accounts.all)}
    rows = [
        [
            e["at"][:19].replace("T", " "),
            e["what"].removeprefix("access: "),
            names.get(e["who"], e["who"]) or "–",
            e["why"],
        ]
        for e in entries
    ]
    with widgets.card():
        tag("p", "The newest entries, as the ledger has them. Times are UTC.", "quiet")
        widgets.table(["When", "What", "Who", "More"], rows)


class _People:
    """Everybody with an account, and the form that invites."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.role, self.profile = visit, "annotator", ""
        self.base = str(ui.context.client.request.base_url).rstrip("/")
        with tag("div", cls="stack"):
            with widgets.card("Invite somebody"):
                self._form()
            with widgets.card("Accounts"):
                self.table: Tag = tag("div", cls="table ground", tabindex=0, role="region", aria_label="Accounts")

    async def begin(self) -> None:
        async with self.visit.telling():
            await self._list()

    def _form(self) -> None:
        points = [widgets.Point(role, role.capitalize()) for role in ACCOUNT_ROLES]
        with tag("div", cls="form"):
            widgets.choice(
                "As",
                points,
                self.role,
                partial(setattr, self, "role"),
                "role",
                about="; ".join(f"{r}: {MAY[r]}" for r in ACCOUNT_ROLES),
            )
            hint = 'Optional, one per line: "country: DE" for quotas and agreement by group, "expertise: law, medicine" for tags.'
            widgets.text("Profile", "", partial(setattr, self, "profile"), "profile", 3, hint)
            with tag("div", cls="actions-row"):
                made = widgets.button("Make an invitation", key="i", cls="main")
                made.on("click", self._invite, args=[], js_handler="() => custodes.settled(() => emit())")
        self.made = tag("div", role="status", aria_live="polite")

    async def _invite(self) -> None:
        async with self.visit.telling():
            profile = parse_profile(self.profile)
            secret = await self.visit.do(invite, self.visit.database, self.role, self.visit.account.id, profile)
            self.made.clear()
            with self.made:
                tag("p", f"For one {self.role}, good once and for a week. It is shown only now:")
                tag("p", f"{self.base}/join?invitation={secret}", "secret", data_invitation="", tabindex=0)

    async def _list(self) -> None:
        accounts = await self.visit.do(self.visit.database.accounts.all)
        self.table.clear()
        with self.table, tag("table"):
            with tag("thead"), tag("tr"):
                for name in ("Name", "Role", "Profile", "State", "Decision"):
                    tag("th", name, scope="col")
            with tag("tbody"):
                for account in accounts:
                    self._row(account)

    def _row(self, account: Account) -> None:
        with tag("tr"):
            tag("th", account.name, scope="row")
            tag("td", account.role)
            tag(
                "td",
                "; ".join(f"{k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in account.profile.items()),
            )
            tag("td", "shut out" if account.disabled else "let in")
            with tag("td"):
                if account.id == self.visit.account.id:
                    tag("span", "you", "quiet")
                else:
                    text = "Let in again" if account.disabled else "Shut out"
                    cls = "" if account.disabled else "danger"
                    widgets.button(text, self._turning(account), cls=cls, aria_label=f"{text}: {account.name}")

    def _turning(self, account: Account) -> Callable[[], Awaitable[None]]:
        async def turn() -> None:
            async with self.visit.telling():
                given = (account.id, self.visit.account.id, not account.disabled)
                await self.visit.do(disable, self.visit.database, *given)
                self.visit.say(f"{account.name} is {'let in again' if account.disabled else 'shut out'}.")
                await self._list()

        return turn
