"""People: inviting, letting in and shutting out, for leads; who came in and who read what, for auditors too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nicegui import ui

from custodes.web.access import LEADS, OVERSEERS, Rule
from custodes.web.accounts import ACCOUNT_ROLES, Account
from custodes.web.people import access_log, disable, invite, parse_profile
from custodes.web.screens import widgets
from custodes.web.screens.pages import page
from custodes.web.screens.tags import tag
from custodes.web.screens.visits import Visit

MAY = {
    "annotator": "judges",
    "reviewer": "judges, reads progress and judgments, decides on proposed actions",
    "lead": "all of it: invites, opens projects, sees the quality desk",
    "auditor": "reads judgments, accounts and the access log; changes nothing",
}
PROFILE_HINT = (
    'Optional, one per line: "country: DE" for quotas and agreement by group, "expertise: law, medicine" for tags.'
)


@page("/people", Rule(LEADS), "People", nav="People")
async def people(visit: Visit) -> None:
    screen = _PeopleScreen(visit)
    async with visit.telling():
        await screen.list_accounts()


@page("/people/access", Rule(OVERSEERS), "Access log", nav="Access log")
async def log(visit: Visit) -> None:
    entries = await visit.do(access_log, visit.database)
    names = {account.id: account.name for account in await visit.do(visit.database.accounts.all)}
    rows = []
    for entry in entries:
        who = names.get(entry["who"], entry["who"]) or "–"
        when = entry["at"][:19].replace("T", " ")
        rows.append([when, entry["what"].removeprefix("access: "), who, entry["why"]])
    with widgets.card():
        tag("p", "The newest entries, as the ledger has them. Times are UTC.", "quiet")
        widgets.table(["When", "What", "Who", "More"], rows)


class _PeopleScreen:
    """Everybody with an account, and the form that invites."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.role, self.profile = visit, "annotator", ""
        self.base = str(ui.context.client.request.base_url).rstrip("/")
        with tag("div", cls="stack"):
            with widgets.card("Invite somebody"):
                self._form()
            with widgets.card("Accounts"):
                self.accounts = widgets.LiveRegion()

    def _form(self) -> None:
        options = [widgets.ChoiceOption(role, role.capitalize()) for role in ACCOUNT_ROLES]
        about = "; ".join(f"{role}: {MAY[role]}" for role in ACCOUNT_ROLES)
        with tag("div", cls="form"):
            widgets.choice("As", options, self.role, partial(setattr, self, "role"), "role", about=about)
            widgets.text_area("Profile", "", partial(setattr, self, "profile"), "profile", 3, PROFILE_HINT)
            with tag("div", cls="actions-row"):
                made = widgets.button("Make an invitation", key="i", cls="main")
                made.on("click", self._invite, args=[], js_handler="() => custodes.settled(() => emit())")
        self.invitation = tag("div", role="status", aria_live="polite")

    async def _invite(self) -> None:
        async with self.visit.telling():
            profile = parse_profile(self.profile)
            secret = await self.visit.do(invite, self.visit.database, self.role, self.visit.account.id, profile)
            self.invitation.clear()
            with self.invitation:
                tag("p", f"For one {self.role}, good once and for a week. It is shown only now:")
                tag("p", f"{self.base}/join?invitation={secret}", "secret", data_invitation="", tabindex=0)

    async def list_accounts(self) -> None:
        accounts = await self.visit.do(self.visit.database.accounts.all)
        head = ["Name", "Role", "Profile", "State", "Decision"]
        with self.accounts.drawn_again():
            widgets.table(head, [self._row(account) for account in accounts], label="Accounts")

    def _row(self, account: Account) -> list[Any]:
        fields = {k: ", ".join(v) if isinstance(v, list) else v for k, v in account.profile.items()}
        state = "shut out" if account.disabled else "let in"
        profile = "; ".join(f"{name}: {value}" for name, value in fields.items())
        return [account.name, account.role, profile, state, self._decision(account)]

    def _decision(self, account: Account) -> str | Callable[[], object]:
        if account.id == self.visit.account.id:
            return "you"
        text, cls = ("Let in again", "") if account.disabled else ("Shut out", "danger")

        async def turn() -> None:
            async with self.visit.telling():
                change = (account.id, self.visit.account.id, not account.disabled)
                await self.visit.do(disable, self.visit.database, *change)
                await self.list_accounts()
                self.visit.say(f"{account.name} is {'let in again' if account.disabled else 'shut out'}.")

        about = f"{text}: {account.name}"
        return lambda: self.accounts.button(text, about, turn, cls=cls, aria_label=about)
