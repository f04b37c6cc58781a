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
from custodes.web.database import MissingError
from custodes.web.screens.tags import Tag
from custodes.web.work import ConflictError

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
        """``function`` of these arguments, called in a thread if the person is still let in.

        Raises SignedOutError, and whatever the function raises.
        """

        def call() -> T:
            caller = self.database.accounts.by_session(self._secret)
            if caller is None or self._rule.roles is None or caller.account.role not in self._rule.roles:
                raise _SignedOutError("you are signed out; sign in again.")
            return function(*args, **kwargs)

        return await asyncio.to_thread(call)

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """What goes wrong in the block for a reason that the person can understand is told to them, and ends it."""
        try:
            yield
        except _SignedOutError:
            self.go(door(self.path))
        except (InputError, ConflictError, MissingError) as error:
            self.say(str(error), bad=True)

    def say(self, sentence: str, bad: bool = False) -> None:
        """A sentence that is seen for a while, and read out."""
        self.browser(f"custodes.say({_js(sentence)}, {_js(bad)})")

    def go(self, path: str) -> None:
        """To another page."""
        self.browser(f"location.href = {_js(path)}")

    def close(self, dialog: str, field: str) -> None:
        """Close a dialog whose work is done and empty its field; what the page shows has been renewed before.

        Who sees the dialog gone may press the next button at once: a button that is about to be replaced loses the press.
        """
        self.browser(f"custodes.close({_js(dialog)}); document.getElementById({_js(field)}).value = ''")

    def browser(self, code: str) -> None:
        """Runs JavaScript in the page."""
        self._client.run_javascript(code)


def door(wanted: str) -> str:
    """Address of the door for somebody who wants to go to ``wanted``."""
    return f"/sign-in?next={quote(wanted)}"


def _js(value: object) -> str:
    return json.dumps(value)
