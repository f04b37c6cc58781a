"""What is refused before it costs anything: bodies that are too large for whoever sends them, and requests that come too often.

Requests are counted by account where a credential is known to be good, else by network: whatever stands in a header that
nobody has checked gives no count of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from custodes.web.access import COOKIE, identify
from custodes.web.accounts import network

STRANGERS, CALLERS, LARGEST = 64 << 10, 4 << 20, 64 << 20
"""Bytes of a body: from anybody; from whoever has a good session or token; of a project's tasks and of files."""
LARGE = ("/api/projects", "/import")
"""Ends of the addresses that take the largest bodies."""
MINUTE = 60.0
KNOWN = 10_000
"""Credentials and counts that are kept at most; the oldest go."""

STATIC = ("/_nicegui/", "/static/")
"""Files that a browser keeps; they are not counted."""
Refuse = Callable[[int, str, dict[str, str] | None], Response]


class RateLimits:
    """Looks at every request before it is read."""

    def __init__(self, requests_a_minute: int, refuse: Refuse) -> None:
        self.most, self.refuse = requests_a_minute, refuse
        self.recent: dict[str, deque[float]] = {}
        self.good: dict[str, tuple[str, float]] = {}  # hash of a credential -> whose it was, and when

    async def __call__(self, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or "transfer-encoding" in request.headers:
            return self.refuse(413, "the body does not say how large it is.", None)
        who = self._whose(request)
        if not request.url.path.startswith(STATIC) and not self._lets(who):
            return self.refuse(429, "too many requests; wait a minute.", {"Retry-After": "60"})
        if int(length) > STRANGERS and int(length) > await self._largest(request):
            return self.refuse(
                413, "the body is too large for this address, or for somebody who is not signed in.", None
            )
        answer = await call(request)
        self._learn(request, who)
        return answer

    async def _largest(self, request: Request) -> int:
        try:
            caller = await run_in_threadpool(identify, request)
        except HTTPException:
            return STRANGERS
        if caller is None:
            return STRANGERS
        return LARGEST if request.method == "POST" and request.url.path.endswith(LARGE) else CALLERS

    def _whose(self, request: Request) -> str:
        account, at = self.good.get(_credential(request), ("", 0.0))
        if account and at > time.monotonic() - MINUTE:
            return f"account {account}"
        return f"address {network(request.client.host if request.client else '')}"

    def _learn(self, request: Request, who: str) -> None:
        """Whoever was let in has a count of their own from now on, and has taken nothing from their network's."""
        caller = getattr(request.state, "caller", None)
        if caller is None or not (credential := _credential(request)):
            return
        self.good.pop(credential, None)
        self.good[credential] = (caller.account.id, time.monotonic())
        if who.startswith("address") and self.recent.get(who):
            self.recent[who].pop()
        _forget(self.good)

    def _lets(self, who: str) -> bool:
        now, times = time.monotonic(), self.recent.pop(who, deque())
        while times and times[0] < now - MINUTE:
            times.popleft()
        times.append(now)
        if len(times) > self.most + 1:  # a flood makes no list longer
            times.popleft()
        self.recent[who] = times  # the last one
        _forget(self.recent)
        return len(times) <= self.most


def _forget(held: dict[str, object] | dict[str, deque[float]] | dict[str, tuple[str, float]]) -> None:
    while len(held) > KNOWN:
        held.pop(next(iter(held)))


def _credential(request: Request) -> str:
    secret = request.headers.get("Authorization") or request.cookies.get(COOKIE) or ""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest() if secret else ""
