"""What is refused before it costs anything: bodies that are too large for whoever sends them, and too many requests.

Requests are counted by account where a credential is known to be good, else by network: whatever stands in a header that
nobody has checked gives no count of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

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


class RateLimits:
    """Looks at every request before it is read."""

    def __init__(self, requests_a_minute: int, refuse: Callable[[int, str, dict[str, str] | None], Response]) -> None:
        self.most, self.refuse = requests_a_minute, refuse
        self.recent: dict[str, deque[float]] = {}  # account or network -> times of its requests
        self.good: dict[str, tuple[str, float]] = {}  # hash of a credential -> whose it was, and when

    async def __call__(self, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or "transfer-encoding" in request.headers:
            return self.refuse(413, "the body does not say how large it is.", None)
        credential = request.headers.get("Authorization") or request.cookies.get(COOKIE) or ""
        key = hashlib.sha256(credential.encode("utf-8", "replace")).hexdigest() if credential else ""
        account, at = self.good.get(key, ("", 0.0))
        known = account and at > time.monotonic() - MINUTE
        who = f"account {account}" if known else f"address {network(request.client.host if request.client else '')}"
        if not request.url.path.startswith(STATIC) and not self._lets(who):
            return self.refuse(429, "too many requests; wait a minute.", {"Retry-After": "60"})
        if int(length) > STRANGERS and int(length) > await _largest(request):
            reason = "the body is too large for this address, or for somebody who is not signed in."
            return self.refuse(413, reason, None)
        answer = await call(request)
        caller = getattr(request.state, "caller", None)
        if caller is not None and key:  # has a count of its own from now on, and has taken nothing from its network's
            _keep(self.good, key, (caller.account.id, time.monotonic()))
            if not known and self.recent.get(who):
                self.recent[who].pop()
        return answer

    def _lets(self, who: str) -> bool:
        now, times = time.monotonic(), self.recent.get(who, deque())
        while times and (times[0] < now - MINUTE or len(times) > self.most):  # a flood makes no list longer
            times.popleft()
        times.append(now)
        _keep(self.recent, who, times)
        return len(times) <= self.most


async def _largest(request: Request) -> int:
    try:
        caller = await run_in_threadpool(identify, request)
    except HTTPException:
        caller = None
    if caller is None:
        return STRANGERS
    return LARGEST if request.method == "POST" and request.url.path.endswith(LARGE) else CALLERS


def _keep(held: dict[str, Any], key: str, value: object) -> None:
    """As the newest; the oldest go."""
    held.pop(key, None)
    held[key] = value
    while len(held) > KNOWN:
        held.pop(next(iter(held)))
