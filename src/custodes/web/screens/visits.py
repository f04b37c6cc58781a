"""Who is looking at a page, and what can be told to them and done for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from custodes.types import InputError
from custodes.web.access import COOKIE, Rule, database_of
from custodes.web.accounts import Account
from custodes.web.screens.tags import Tag

P = ParamSpec("P")
T = TypeVar("T")


class _SignedOutError(Exception):
    """The session has ended meanwhile."""


class Visit:
    """Somebody looking at a page. ``account`` is who they were when it was built."""

    def __init__(self, request: Request, rule: Rule) -> None:
        caller = request.state.caller
        self.database = database_of(request)
        self.account: Account = caller.account
        self.csrf: str = caller.csrf
        self.path = request.url.path
        self.theme = request.cookies.get("custodes_theme", "")
        self.heading: Tag
        """The page's first heading."""
        self._secret, self._rule = request.cookies[COOKIE], rule
        self._client = ui.context.client

    async def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function`` of these arguments, called in a thread if the person is still let in; raises what it raises."""

        def call() -> T:
            caller = self.database.accounts.by_session(self._secret)
            if caller is None or self._rule.roles is None or not self._rule.lets(caller.account):
                raise _SignedOutError("you are signed out; sign in again.")
            return function(*args, **kwargs)

        return await asyncio.to_thread(call)

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Says to the person what goes wrong in the block, where the reason is theirs to know; the block ends there."""
        try:
            yield
        except _SignedOutError:
            self.browser(f"location.href = {_js(sign_in_address(self.path))}")
        except InputError as error:
            self.say(str(error), bad=True)

    def say(self, sentence: str, bad: bool = False) -> None:
        """A sentence that is seen for a while, and read out."""
        self.browser(f"custodes.say({_js(sentence)}, {_js(bad)})")

    def close(self, dialog: str, field: str) -> None:
        """Closes a dialog whose work is done and empties its field. Renew the page before: then it shows what was done."""
        self.browser(f"custodes.close({_js(dialog)}); document.getElementById({_js(field)}).value = ''")

    def browser(self, code: str) -> None:
        """Runs JavaScript in the page."""
        self._client.run_javascript(code)


def sign_in_address(wanted: str) -> str:
    """Where somebody signs in who wants to go to ``wanted``."""
    return f"/sign-in?next={quote(wanted)}"


_js = json.dumps
