"""Sends what is in the outbox of the webhooks, again and later where it does not arrive.

One thread per server process. What is due is claimed for a minute in one short transaction, sent while nothing is locked,
and ticked off in another: so nobody's judgment waits for anybody's receiver, and what a killed process had claimed is sent
by the next one. A receiver may get the same twice; it has the same delivery id then.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Row, delete, select, update

from custodes.types import InputError
from custodes.web.database import Database
from custodes.web.schema import outbox, webhooks
from custodes.web.webhooks import DELIVERY, SIGNATURE, sign

PAUSES = (2.0, 10.0, 60.0, 600.0, 3_600.0, 6 * 3_600.0, 24 * 3_600.0)
"""Seconds from one try to the next; after the last, it is given up."""
CLAIM = 60.0
"""Seconds for which one process has what it claimed."""
AT_ONCE = 20
KEPT = 7 * 86_400.0
"""Seconds for which what was delivered or given up can be looked at."""
LOOK = 0.5
"""Seconds between two looks into the outbox."""
TIMEOUT = 10.0

log = logging.getLogger(__name__)


class Courier:
    """Delivers in a thread while the ``with`` block is open.

    ``hosts`` are the only ones that may be told, as HOST or HOST:PORT, internal ones included; without any, every public
    address may be told and no internal one, so that nobody can reach the network behind the server through it.
    """

    def __init__(self, database: Database, hosts: Collection[str] = ()) -> None:
        self._database, self._hosts = database, frozenset(host.lower() for host in hosts)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(TIMEOUT + 5)

    def _run(self) -> None:
        while not self._over.wait(LOOK):
            try:
                while self.deliver() == AT_ONCE and not self._over.is_set():
                    pass
            except Exception:  # a database that is away for a moment does not end the deliveries
                log.exception("webhooks: the outbox could not be worked on; trying again")
                self._over.wait(5.0)

    def deliver(self) -> int:
        """Tries once whatever is due now, at most ``AT_ONCE``; how many."""
        found = self._claim()
        if not found:
            return 0
        results = {}
        with httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as http:
            for row in found:
                results[row.id] = self._send(http, row)
                if self._over.is_set():
                    break
        self._tick_off(found, results)
        return len(found)

    def _claim(self) -> list[Row[Any]]:
        now = self._database.clock()
        due = (outbox.c.state == "waiting", outbox.c.due <= now)
        with self._database.reading() as connection:  # nothing to do is the usual case, and locks nothing
            if connection.scalar(select(outbox.c.id).where(*due).limit(1)) is None:
                return []
        query = (
            select(outbox, webhooks.c.url, webhooks.c.secret)
            .join(webhooks, webhooks.c.id == outbox.c.webhook)
            .where(*due)
            .order_by(outbox.c.due)
            .limit(AT_ONCE)
        )
        with self._database.writing() as connection:
            rows = list(connection.execute(query).all())
            ids = [row.id for row in rows]
            connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(due=now + CLAIM))
        return rows

    def _send(self, http: httpx.Client, row: Row[Any]) -> tuple[bool, str]:
        """Whether it arrived, and what was said."""
        body = row.body.encode()
        headers = {"Content-Type": "application/json", DELIVERY: row.id}
        headers[SIGNATURE] = sign(row.secret, self._database.clock(), body)
        try:
            url, host = self._address(row.url)
            told = {**headers, "Host": urlsplit(row.url).netloc}
            with http.stream("POST", url, content=body, headers=told, extensions={"sni_hostname": host}) as answer:
                return answer.is_success, f"status {answer.status_code}"
        except InputError as error:
            return False, str(error)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return False, str(error) or type(error).__name__

    def _address(self, url: str) -> tuple[str, str]:
        """(the URL with the host's number in place of its name, the host).

        The number that was looked at is the one that is connected to: a name cannot change its mind in between. Raises
        InputError for what may not be told.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if self._hosts and not {host, f"{host}:{port}"} & self._hosts:
            raise InputError(f"{host}:{port} is not among the hosts that webhooks may go to.")
        numbers = {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        if not self._hosts:
            for number in numbers:
                if not _public(number):
                    raise InputError(f"{host} is not a public address; name it in --webhook-hosts if it is meant.")
        number = min(numbers, key=lambda n: (":" in n, n))
        bracketed = f"[{number}]" if ":" in number else number
        return parts._replace(netloc=f"{bracketed}:{port}").geturl(), host

    def _tick_off(self, found: list[Row[Any]], results: dict[str, tuple[bool, str]]) -> None:
        now = self._database.clock()
        with self._database.writing() as connection:
            for row in found:
                if row.id not in results:
                    continue
                arrived, said = results[row.id]
                last = row.tries >= len(PAUSES)
                state = "delivered" if arrived else "given up" if last else "waiting"
                due = now + (PAUSES[row.tries] if state == "waiting" else 0.0)
                values = {"state": state, "due": due, "tries": row.tries + 1, "said": said[:500]}
                connection.execute(update(outbox).where(outbox.c.id == row.id).values(**values))
            connection.execute(delete(outbox).where(outbox.c.state != "waiting", outbox.c.due < now - KEPT))


def _public(number: str) -> bool:
    address = ipaddress.ip_address(number.partition("%")[0])
    return address.is_global and not address.is_multicast
