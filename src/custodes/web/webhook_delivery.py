"""Sends what is in the outbox of the webhooks, signed as Standard Webhooks; again and later where it does not arrive.

One thread per server process. What is due is claimed for a minute in one short transaction, sent while nothing is locked,
and ticked off in another. So nobody's judgment waits for anybody's receiver, and the next process sends what a killed one
had claimed. A receiver may get the same twice; both have the same id.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Row, delete, func, select, update
from standardwebhooks import Webhook

from custodes.web.addresses import check_url, not_public, public
from custodes.web.database import ServerDatabase
from custodes.web.schema import outbox, webhooks

PAUSES = (2.0, 10.0, 60.0, 600.0, 3_600.0, 6 * 3_600.0, 24 * 3_600.0)
"""Seconds from one try to the next; after the last, it is given up."""
CLAIM = 60.0
"""Seconds for which one process has what it claimed."""
AT_ONCE, EACH = 20, 5
"""Deliveries that are tried side by side, and those of one receiver among them."""
KEPT = 7 * 86_400.0
"""Seconds for which what was delivered or given up can be looked at."""
LOOK = 0.5
"""Seconds between two looks into the outbox."""
TIMEOUT = 10.0
"""Seconds for one delivery."""

log = logging.getLogger(__name__)


class WebhookDelivery:
    """Delivers in a thread while the ``with`` block is open.

    ``hosts`` are the only ones that may be told, as HOST or HOST:PORT, internal ones included. Without any, every public
    address may be told and no internal one: nobody can reach the network behind the server through it.
    """

    def __init__(self, database: ServerDatabase, hosts: Collection[str] = ()) -> None:
        self._database, self._hosts = database, frozenset(host.lower() for host in hosts)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(TIMEOUT + 5)

    def _run(self) -> None:
        while not self._over.wait(LOOK):
            try:
                while self.deliver() and not self._over.is_set():
                    pass
            except Exception:  # a database that is away for a moment does not end the deliveries
                log.exception("webhooks: the outbox could not be worked on; trying again")
                self._over.wait(5.0)

    def deliver(self) -> int:
        """Tries once whatever is due now, at most ``AT_ONCE`` and ``EACH`` of one receiver; how many."""
        rows = self._claim()
        if rows:
            self._tick_off(rows, asyncio.run(self._send_all(rows)))
        return len(rows)

    async def _send_all(self, rows: list[Row[Any]]) -> list[tuple[bool, str]]:
        async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as http:
            return await asyncio.gather(*(self._send(http, row) for row in rows))

    def _claim(self) -> list[Row[Any]]:
        now = self._database.clock()
        due = (outbox.c.state == "waiting", outbox.c.due <= now)
        with self._database.reading() as connection:  # nothing to do is the usual case, and locks nothing
            if connection.scalar(select(outbox.c.id).where(*due).limit(1)) is None:
                return []
        turn = func.row_number().over(partition_by=outbox.c.webhook, order_by=(outbox.c.due, outbox.c.created))
        waiting = select(outbox.c.id, turn.label("turn")).where(*due).subquery()
        query = (
            select(outbox, webhooks.c.url, webhooks.c.secret)
            .join(webhooks, webhooks.c.id == outbox.c.webhook)
            .join(waiting, waiting.c.id == outbox.c.id)
            .where(waiting.c.turn <= EACH)
            .order_by(waiting.c.turn, outbox.c.due)
            .limit(AT_ONCE)
        )
        with self._database.writing() as connection:
            rows = list(connection.execute(query).all())
            ids = [row.id for row in rows]
            connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(due=now + CLAIM))
        return rows

    async def _send(self, http: httpx.AsyncClient, row: Row[Any]) -> tuple[bool, str]:
        """Whether it arrived, and what was said. Whatever goes wrong concerns this receiver alone."""
        at = datetime.fromtimestamp(int(self._database.clock()), UTC)
        headers = {"Content-Type": "application/json", "webhook-id": row.id}
        headers["webhook-timestamp"] = f"{at.timestamp():.0f}"
        try:
            headers["webhook-signature"] = Webhook(row.secret).sign(row.id, at, row.body)
            async with asyncio.timeout(TIMEOUT):  # of all of it: a receiver may answer one letter at a time
                url, host = await self._address(row.url)
                headers["Host"] = httpx.URL(row.url).netloc.decode("ascii")
                options: Any = {"content": row.body.encode(), "headers": headers, "extensions": {"sni_hostname": host}}
                async with http.stream("POST", url, **options) as answer:
                    return answer.is_success, f"status {answer.status_code}"
        except TimeoutError:
            return False, f"no answer within {TIMEOUT:g} seconds"
        except Exception as error:
            return False, str(error) or type(error).__name__

    async def _address(self, url: str) -> tuple[str, str]:
        """(the URL with the host's number in place of its name, the host).

        The number that was looked at is the one that is connected to: a name cannot change its mind in between. Raises
        InputError for what may not be told.
        """
        _, host, port = check_url(url, self._hosts)
        loop = asyncio.get_running_loop()
        numbers = {str(entry[4][0]) for entry in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        if not self._hosts and not all(public(ipaddress.ip_address(n.partition("%")[0])) for n in numbers):
            raise not_public(host)
        number = min(numbers, key=lambda n: (":" in n, n))
        bracketed = f"[{number}]" if ":" in number else number
        return urlsplit(url)._replace(netloc=f"{bracketed}:{port}").geturl(), host

    def _tick_off(self, rows: list[Row[Any]], results: list[tuple[bool, str]]) -> None:
        now = self._database.clock()
        with self._database.writing() as connection:
            for row, (arrived, answer) in zip(rows, results, strict=True):
                state = "delivered" if arrived else "given up" if row.tries >= len(PAUSES) else "waiting"
                due = now + (PAUSES[row.tries] if state == "waiting" else 0.0)
                values = {"state": state, "due": due, "tries": row.tries + 1, "said": answer[:500]}
                connection.execute(update(outbox).where(outbox.c.id == row.id).values(**values))
            connection.execute(delete(outbox).where(outbox.c.state != "waiting", outbox.c.due < now - KEPT))
