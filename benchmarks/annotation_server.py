"""People at work at the annotation server all at once, and whether what they were told is true.

    python benchmarks/annotation_server.py --json
    python benchmarks/annotation_server.py --db postgresql://user@host/empty_database --json
    python benchmarks/annotation_server.py --hostile 0.01 --pairs 3 --seconds 60 --json

Simulated people in one process ask real servers over HTTP on the loopback for an item, look at it (log-normal, ``--think``
seconds on average), save a draft half-way as the screens do, and hand in. The servers share one PostgreSQL database (a
private one is started where none is named; it waits for the disk at every commit). After a quiet part the servers are
killed with SIGKILL, one after the other, ``--kills`` times in all, and started again; people try again, at another server
where there is one. In the end the ledger is compared with every answer that anybody got.

``p95_ms`` is over all requests of the quiet part; ``with kills`` is from when somebody first asked until they had an answer,
the tries in between included. Exit code 1 where a judgment was lost, doubled or changed.

Of every fourth item people open the page as a browser does, for which the server formats its texts. With ``--hostile`` that
share of the items has answers that were made to stop a server (unbalanced brackets, 60 kB of them, code whose lexer does not
end, foreign line ends, letters from right to left, characters beyond 16 bits), and drafts with half a character are sent,
which must be refused. ``--pairs`` compares runs without and with them, one after the other, in turned order, nobody killed:
``ratio`` is the median of the hostile runs' ``p95_ms`` over that of the clean ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # PostgreSQL of its own
sys.path.append(str(Path(__file__).parents[1] / "tests" / "web"))  # servers in processes of their own
import postgres
from result import print_result
from server_process import ServerProcess, open_project, sessions, tokens

from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.project import TEMPLATE
from custodes.web.access import COOKIE
from custodes.web.database import ServerDatabase
from custodes.web.export import read_project

QUIET = 0.4
"""Share of the time before the first kill; all of it where nobody is killed."""
PAGE_OF_EVERY = 4
"""Of one item in so many the page is opened, of all hostile ones too."""
HOSTILE = [
    "\\[ a\n\n" * 1_500,
    "\\( " * 20_000,
    "```perl\n" + "{" * 48_000 + "\n```",
    "```java\n" + "a " * 24_000 + "\n```",
    "word " * 12_000,
    "One line.\r\n\r\nAnother one.\r\n" * 100,
    "السماء زرقاء (جدا) 1.\n\n" * 100,
    "😀 \U00020000 " * 200,
]
OVERLAP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200, help="how many work at once (200)")
    parser.add_argument("--seconds", type=float, default=180.0, help="for how long they begin new items (180)")
    parser.add_argument("--think", type=float, default=10.0, help="mean seconds that somebody looks at an item (10)")
    parser.add_argument("--kills", type=int, default=10, help="how often a server is killed (10)")
    parser.add_argument("--servers", type=int, default=2, help="server processes (2)")
    parser.add_argument("--db", help="an empty PostgreSQL database (default: a private server)")
    parser.add_argument("--hostile", type=float, default=0.0, help="share of items with hostile answers (0)")
    parser.add_argument(
        "--pairs", type=int, default=0, help="pairs of runs without and with hostile answers (0: one run)"
    )
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    options = parser.parse_args()
    runs = paired(options) if options.pairs else [options]
    results = []
    for run in runs:
        with database_for(options.db) as db, tempfile.TemporaryDirectory() as folder:
            results.append(measure(db, Path(folder), run))
    result = compared(results) if options.pairs else results[0]
    if not options.json:
        print(json.dumps(result, indent=1))
    print_result(result)
    wrong = ("lost", "doubled", "changed")
    sys.exit(int(any(r[what] for r in results for what in wrong) or not all(r["chain"] for r in results)))


def paired(options: argparse.Namespace) -> list[argparse.Namespace]:
    """The runs of ``--pairs``: every other pair begins with the hostile one."""
    if options.db is not None or not options.hostile:
        sys.exit("--pairs takes --hostile, and databases of its own.")
    shares = [share for n in range(options.pairs) for share in ((0.0, options.hostile), (options.hostile, 0.0))[n % 2]]
    return [argparse.Namespace(**{**vars(options), "kills": 0, "hostile": share}) for share in shares]


def compared(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the runs of each sort, and their ratio."""
    p95 = {
        name: [r["p95_ms"] for r in results if bool(r["hostile"]) == on] for name, on in (("clean", 0), ("hostile", 1))
    }
    medians = {name: float(np.median(values)) for name, values in p95.items()}
    return {
        "benchmark": "annotation_server_hostile",
        "p95_ms": p95,
        "median": medians,
        "ratio": round(medians["hostile"] / medians["clean"], 3),
        **{what: sum(r[what] for r in results) for what in ("judgments", "requests", "lost", "doubled", "changed")},
        "runs": results,
    }


@contextmanager
def database_for(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    with postgres.server(fsync=True) as running:
        yield running.new_database()


def measure(db: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    held = tokens(db, {f"person-{n}": "annotator" for n in range(options.people)})
    text = (
        TEMPLATE.replace("members: listed  ", "members: everybody")
        .replace("overlap: 3 ", f"overlap: {OVERLAP} ")
        .replace("gold_share: 0.1", "gold_share: 0.0")
    )
    begun = int(options.people * (options.seconds / options.think + 2))
    every = round(1 / options.hostile) if options.hostile else 0
    answers = (
        {n: [f"{HOSTILE[n // every % len(HOSTILE)]} {n}", "evil"] for n in range(0, begun, every)} if every else {}
    )
    open_project(db, text.replace("repeat_share: 0.05", "repeat_share: 0.0"), 2 * begun // OVERLAP, answers)
    cookies = sessions(db, list(held))
    servers = [ServerProcess(db, folder) for _ in range(options.servers)]
    for server in servers:
        server.start(wait=False)
    for server in servers:
        server.wait()
    try:
        crowd = Crowd([server.address for server in servers], options.think, cookies)
        killed = asyncio.run(at_work(crowd, list(held.values()), servers, options))
    finally:
        for server in servers:
            server.__exit__()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "benchmark": "annotation_server",
        **{name: getattr(options, name) for name in ("people", "seconds", "think", "servers", "hostile")},
        "kills": killed,
        "judgments": sum(len(ids) for ids, _ in crowd.acknowledged.values()),
        "requests": len(crowd.waits),
        "p95_ms": percentiles([w for w in crowd.waits if w.quiet]).get("p95"),
        "quiet": by_request([w for w in crowd.waits if w.quiet]),
        "with kills": by_request([w for w in crowd.waits if not w.quiet]),
        "tried again": crowd.retries,
        **compare(db, crowd),
        "cpu_seconds": {"servers": used.ru_utime + used.ru_stime, "people": time.process_time()},
        "load": os.getloadavg()[0],
    }


@dataclass(frozen=True)
class Wait:
    """From asking to having an answer."""

    what: str
    seconds: float
    quiet: bool


@dataclass
class Crowd:
    """Simulated people, and everything that the servers told them."""

    addresses: list[str]
    think: float
    cookies: list[str]
    quiet: bool = True
    waits: list[Wait] = field(default_factory=list)
    acknowledged: dict[str, tuple[list[str], int]] = field(default_factory=dict)  # by assignment: ids, strength
    retries: Counter[str] = field(default_factory=Counter)

    async def work(self, http: httpx.AsyncClient, number: int, token: str, until: float) -> None:
        rng = random.Random(number)
        await asyncio.sleep(rng.uniform(0, self.think))  # nobody comes at the same moment
        person = Person(self, http, number, {"Authorization": f"Bearer {token}"})
        while time.monotonic() < until:
            item = (await person.ask("next", "POST", "/projects/helpfulness/next"))["item"]
            if item is None:
                raise RuntimeError("the project has too few items for so many people.")
            place = int(item["prompt"][0]["content"].split()[1].rstrip("?"))
            if place % PAGE_OF_EVERY == 0:
                await person.ask("page", "GET", f"/work/{item['project']}", cookie=self.cookies[number])
            if max(len(answer[0]["content"]) for answer in item["answers"]) > 100:  # a hostile one
                half = b'{"draft": {"text": "\\ud800"}}'
                await person.ask(
                    "half a character", "PUT", f"/assignments/{item['assignment']}/draft", half, refused=422
                )
            looked = rng.lognormvariate(np.log(self.think) - 0.125, 0.5)
            await asyncio.sleep(looked / 2)
            path = f"/assignments/{item['assignment']}"
            await person.ask("draft", "PUT", f"{path}/draft", {"draft": {"strength": 1}})
            await asyncio.sleep(looked / 2)
            strength = rng.choice([-3, -2, -1, 1, 2, 3])
            answers = [{"question": 1, "verdict": "prefer", "strength": strength}]
            body = {"answers": answers, "seconds": round(looked, 3)}
            told = await person.ask("hand in", "POST", f"{path}/judgments", body)
            self.acknowledged[item["assignment"]] = (told["judgments"], strength)


@dataclass
class Person:
    """One of the crowd; who gets no answer tries again, at the next server where there are several."""

    crowd: Crowd
    http: httpx.AsyncClient
    server: int
    headers: dict[str, str]

    async def ask(
        self, what: str, method: str, path: str, body: object = None, cookie: str = "", refused: int = 0
    ) -> Any:
        """What is answered; ``refused`` is the status that is right. With a session's ``cookie``, a page and not the API."""
        began, quiet = time.monotonic(), self.crowd.quiet
        while True:
            addresses = self.crowd.addresses
            url = f"{addresses[self.server % len(addresses)]}{'' if cookie else '/api'}{path}"
            sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
            headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else self.headers
            if isinstance(body, bytes):
                headers = {**headers, "Content-Type": "application/json"}
            try:
                answer = await self.http.request(method, url, headers=headers, **sent)
            except httpx.TransportError as error:
                self.crowd.retries[type(error).__name__] += 1
                self.server += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status_code >= 400 and answer.status_code != refused:
                raise RuntimeError(f"{what}: {answer.status_code} {answer.text}")
            self.crowd.waits.append(Wait(what, time.monotonic() - began, quiet and self.crowd.quiet))
            return None if cookie else answer.json()


async def at_work(crowd: Crowd, held: list[str], servers: list[ServerProcess], options: argparse.Namespace) -> int:
    """Everybody works until the time is up and what they have before them is handed in; how often a server was killed."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60.0) as http:
        until = time.monotonic() + options.seconds
        people = [asyncio.create_task(crowd.work(http, n, token, until)) for n, token in enumerate(held)]
        killer = asyncio.create_task(kill(crowd, servers, options))
        try:
            await asyncio.gather(*people)
        finally:
            killed = await killer
    return killed


async def kill(crowd: Crowd, servers: list[ServerProcess], options: argparse.Namespace) -> int:
    """Kills one server after the other; one that does not answer yet after the time since is waited for."""
    await asyncio.sleep(QUIET * options.seconds)
    pause = (1 - QUIET) * options.seconds / max(options.kills, 1)
    for n in range(options.kills):
        crowd.quiet = False
        server = servers[n % len(servers)]
        await asyncio.to_thread(server.wait)
        server.kill()
        await asyncio.to_thread(server.start, False)
        await asyncio.sleep(pause if n + 1 < options.kills else 0)
    await asyncio.to_thread(lambda: [server.wait() for server in servers])
    return options.kills


def compare(db: str, crowd: Crowd) -> dict[str, Any]:
    """What people were told against what the ledger holds."""
    database = ServerDatabase(db)
    try:
        held = [j for j in read_project(database, "helpfulness").judgments if isinstance(j, Comparison)]
        chain = database.ledger.verify().ok
    finally:
        database.close()
    ids = Counter(j.id for j in held)
    told = {id_: strength for found, strength in crowd.acknowledged.values() for id_ in found}
    pairs = Counter((j.annotator, j.task) for j in held)
    per_item = Counter(j.task for j in held)
    return {
        "lost": len(told.keys() - ids.keys()),
        "doubled": sum(n - 1 for n in (*ids.values(), *pairs.values())) + sum(n > OVERLAP for n in per_item.values()),
        "changed": sum(told[j.id] != j.strength for j in held if j.id in told),
        "unknown": len(ids.keys() - told.keys()),
        "chain": chain,
    }


def by_request(waits: list[Wait]) -> dict[str, dict[str, float]]:
    kinds: dict[str, list[Wait]] = defaultdict(list)
    for wait in waits:
        kinds[wait.what].append(wait)
    return {"all": percentiles(waits)} | {what: percentiles(of) for what, of in sorted(kinds.items())}


def percentiles(waits: list[Wait]) -> dict[str, float]:
    """Milliseconds."""
    if not waits:
        return {}
    found = 1000 * np.array([wait.seconds for wait in waits])
    at = {f"p{p}": round(float(np.percentile(found, p)), 1) for p in (50, 95, 99)}
    return {**at, "max": round(float(found.max()), 1), "n": len(found)}


if __name__ == "__main__":
    main()
