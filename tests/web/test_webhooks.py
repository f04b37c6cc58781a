"""Webhooks: what is told, to whom, signed, again where it did not arrive, and never in anybody's way."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from receiver import Receiver, until
from server_process import ServerProcess, open_project, tokens
from sqlalchemy import select, text
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from web_server import PROJECT, Server, better_left

from custodes.feedback.questions import Answer
from custodes.types import InputError
from custodes.web import refresh, webhook_delivery, work
from custodes.web.client import Client
from custodes.web.schema import assignments, outbox, webhooks
from custodes.web.webhook_delivery import CLAIM, PAUSES, WebhookDelivery
from custodes.web.webhooks import EVENTS, add_webhook

NEXT = "/projects/helpfulness/next"
HOOKS = "/projects/helpfulness/webhooks"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def hook(server: Server, receiver: Receiver, *events: str) -> dict[str, str]:
    return add_webhook(server.database, "helpfulness", receiver.url, list(events or EVENTS), "test")


def states(server: Server) -> list[str]:
    with server.database.reading() as connection:
        return list(connection.scalars(select(outbox.c.state).order_by(outbox.c.created)))


def judge(person) -> list[str]:
    item = person.call("POST", NEXT).json()["item"]
    return better_left(person, item).json()["judgments"]


def test_what_happens_is_told_and_signed(anywhere: Server, receiver: Receiver):
    anywhere.clock.now = time.time()  # a receiver looks at its own clock
    anywhere.project()
    secret = hook(anywhere, receiver)["secret"]
    ann, lead = anywhere.person("ann"), anywhere.person("lead", "lead")
    ids = judge(ann)
    lead.call("POST", "/projects/helpfulness/quarantine", {"account": ann.account, "why": "odd"})
    lead.call("POST", "/projects/helpfulness/close", {"why": "enough"})
    assert WebhookDelivery(anywhere.database, [receiver.host]).deliver() == 3
    told = {event["event"]: event for event in receiver.events()}
    assert told["judgment"]["judgments"] == ids
    assert told["judgment"]["annotator"] == ann.account
    assert told["quarantine"] | {"why": "odd", "lifted": False} == told["quarantine"]
    assert told["ended"]["why"] == "enough"
    headers, body = receiver.got[0]
    assert headers["Host"] == receiver.host
    assert headers["webhook-id"] in {event["delivery"] for event in told.values()}
    assert json.loads(body) == Webhook(secret).verify(body, headers)
    later = {**headers, "webhook-timestamp": str(int(anywhere.clock.now) + 1)}
    another = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    for key, content, names in (
        (another, body, headers),
        (secret, body + b" ", headers),
        (secret, body, later),
        (secret, body, {**headers, "webhook-id": "another"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(content, names)
    assert states(anywhere) == ["delivered"] * 3


def test_a_secret_of_an_earlier_version_signs_the_same_bytes(server: Server, receiver: Receiver, tmp_path: Path):
    server.clock.now = time.time()
    server.project()
    made = hook(server, receiver)
    with server.database.writing() as connection:
        connection.execute(webhooks.update().values(secret="of-an_earlier-version"))
        connection.execute(text("UPDATE web_version SET version_num = '0007'"))
    again = Server(str(tmp_path / "custodes.db"))
    judge(server.person("ann"))
    again.clock.now = server.clock.now
    WebhookDelivery(again.database, [receiver.host]).deliver()
    again.database.close()
    headers, body = receiver.got[0]
    assert Webhook(b"of-an_earlier-version").verify(body, headers)["event"] == "judgment"
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body, headers)


def test_only_what_was_asked_for_is_told(server: Server, receiver: Receiver):
    server.project()
    hook(server, receiver, "ended")
    judge(server.person("ann"))
    assert states(server) == []


def test_a_judgment_that_was_not_taken_is_not_told(server: Server, receiver: Receiver):
    server.project()
    hook(server, receiver)
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    path = f"/assignments/{item['assignment']}/judgments"
    assert ann.call("POST", path, {"answers": [], "seconds": 1.0}).status_code == 422
    assert states(server) == []
    better_left(ann, item)
    better_left(ann, item)  # the same again
    assert states(server) == ["waiting"]


def test_what_does_not_arrive_is_sent_again_later_and_in_the_end_given_up(server: Server, receiver: Receiver):
    server.project()
    made = hook(server, receiver)
    judge(server.person("ann"))
    receiver.status = 503
    delivery = WebhookDelivery(server.database, [receiver.host])
    for pause in PAUSES:
        assert delivery.deliver() == 1
        assert delivery.deliver() == 0  # not before its time
        server.clock.now += pause + 0.1
    assert states(server) == ["waiting"]
    assert delivery.deliver() == 1
    assert states(server) == ["given up"]
    assert len({event["delivery"] for event in receiver.events()}) == 1
    lead = server.person("lead", "lead")
    (shown,) = lead.call("GET", HOOKS).json()
    assert (shown["id"], shown["given_up"], shown["last"]) == (made["id"], 1, "status 503")
    assert made["secret"] not in lead.call("GET", HOOKS).text


def test_redirects_are_not_followed(server: Server, receiver: Receiver):
    server.project()
    hook(server, receiver)
    judge(server.person("ann"))
    receiver.status = 302
    WebhookDelivery(server.database, [receiver.host]).deliver()
    assert len(receiver.got) == 1
    assert states(server) == ["waiting"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/", "http://169.254.169.254/x"]
)
def test_nobody_reaches_the_network_behind_the_server(server: Server, receiver: Receiver, url: str):
    server.project()
    url = url.format(port=receiver.host.split(":")[1])
    add_webhook(server.database, "helpfulness", url, ["judgment"], "test")
    judge(server.person("ann"))
    WebhookDelivery(server.database).deliver()
    WebhookDelivery(server.database, ["example.org"]).deliver()
    assert receiver.got == []
    assert "not a public address" in server.person("lead", "lead").call("GET", HOOKS).json()[0]["last"]


def test_a_slow_receiver_holds_nobody_up_and_a_dead_senders_claim_ends(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(webhook_delivery, "TIMEOUT", 60.0)
    server.project()
    hook(server, receiver)
    ann, bob = server.person("ann"), server.person("bob")
    judge(ann)
    receiver.wait = 3.0
    sending = threading.Thread(target=WebhookDelivery(server.database, [receiver.host]).deliver)
    began = time.monotonic()
    sending.start()
    judge(bob)
    assert not receiver.got, f"{time.monotonic() - began:.1f} s"
    sending.join()
    receiver.wait = 0.0
    WebhookDelivery(server.database, [receiver.host])._claim()  # and dies
    assert WebhookDelivery(server.database, [receiver.host]).deliver() == 0
    server.clock.now += CLAIM + 1
    assert WebhookDelivery(server.database, [receiver.host]).deliver() == 1


def test_alarms_are_told_once(server: Server, receiver: Receiver):
    server.project(PROJECT.replace("overlap: 2 ", "overlap: 5 "), tasks=20)
    hook(server, receiver, "alarm")
    people = [server.person(f"p{n}").account for n in range(5)]
    for person in people:
        account = server.database.accounts.of(person)
        assert account is not None
        while (item := work.claim(server.database, "helpfulness", account)[0]) is not None:
            good = item["answers"][0][0]["content"].startswith("good")
            said = Answer(question=1, verdict="prefer", strength=2 if good != (person == people[4]) else -2)
            work.hand_in(server.database, item["assignment"], account, [said], 5.0)
    assert refresh.is_due(server.database, item_of_last(server)) == "helpfulness"  # because a webhook asks
    assert refresh.refresh(server.database, "helpfulness") is not None
    assert refresh._tell_alarms(server.database, "helpfulness") == []
    WebhookDelivery(server.database, [receiver.host]).deliver()
    told = {event["annotator"]: event for event in receiver.events()}
    assert len(told) == len(receiver.events())
    assert told[people[4]]["event"] == "alarm"
    assert told[people[4]]["suspicion"] == "inverted"


def item_of_last(server: Server) -> str:
    with server.database.reading() as connection:
        return str(connection.scalar(select(assignments.c.id).order_by(assignments.c.ended.desc()).limit(1)))


INTERNAL = [
    "http://127.0.0.1/",
    "http://localhost:8080/",
    "http://a.localhost/",
    "http://10.1.2.3/",
    "http://169.254.169.254/latest",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::127.0.0.1]/",  # IPv4-compatible
    "http://[::ffff:0:127.0.0.1]/",  # translated
    "http://[64:ff9b::127.0.0.1]/",  # NAT64
    "http://[64:ff9b::a00:1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",  # 6to4
    "http://[2002:c0a8:101::1]/",
    "http://[2001:0:a00:1::1]/",  # Teredo
    "http://[2001:0:808:808:0:0:80ff:fffe]/",
    "http://[2606:4700::5efe:192.168.0.1]/",  # ISATAP
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://printer.local/",
]


@pytest.mark.parametrize("url", INTERNAL)
def test_no_form_of_an_internal_address_becomes_a_webhook(server: Server, url: str):
    server.project()
    with pytest.raises(InputError, match="not a public address"):
        add_webhook(server.database, "helpfulness", url, ["judgment"], "test", hosts=())


@pytest.mark.parametrize(
    "url", ["http://example.org/", "https://8.8.8.8:8443/x", "http://[2606:4700::1111]/", "http://[64:ff9b::808:808]/"]
)
def test_public_addresses_do(server: Server, url: str):
    server.project()
    assert add_webhook(server.database, "helpfulness", url, ["judgment"], "test", hosts=())


WRONG = [
    "http://example.org:99999/",
    "http://example.org:port/",
    "http://example.org:0/",
    "http://example.org:-1/",
    "http://[::1/",
    "http://[nonsense]/",
    f"http://{'a' * 70}.org/",
    "http:///x",
]


@pytest.mark.parametrize("url", WRONG)
def test_an_address_that_is_none_is_refused_in_one_sentence(server: Server, url: str):
    server.project()
    lead = server.person("lead", "lead")
    said = lead.call("POST", HOOKS, {"url": url, "events": ["judgment"]})
    assert said.status_code == 422
    assert "\n" not in said.json()["detail"]


def test_one_receiver_never_stops_another(server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(webhook_delivery, "TIMEOUT", 1.0)
    server.project(tasks=12)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and never says a word
        held = [receiver.host, f"127.0.0.1:{silent.getsockname()[1]}"]
        for url in (f"http://{held[1]}/", "http://example.org/", "http://example.org/"):
            add_webhook(server.database, "helpfulness", url, ["judgment"], "test")
        broken = {"http://example.org/": "http://example.org:99999/"}  # as an earlier version kept it
        with server.database.writing() as connection:
            for old, new in broken.items():
                connection.execute(webhooks.update().where(webhooks.c.url == old).values(url=new))
        hook(server, receiver, "judgment")
        ann = server.person("ann")
        for _ in range(12):
            judge(ann)
        while WebhookDelivery(server.database, held).deliver():
            pass
    assert len(receiver.got) == 12
    assert states(server).count("delivered") == 12
    assert states(server).count("waiting") == 36


def test_leads_make_and_remove_them(server: Server, receiver: Receiver):
    server.project()
    lead = server.person("lead", "lead")
    made = lead.call("POST", HOOKS, {"url": receiver.url, "events": ["judgment"]}).json()
    judge(server.person("ann"))
    assert lead.call("GET", HOOKS).json()[0]["waiting"] == 1
    assert lead.call("DELETE", f"{HOOKS}/{made['id']}").status_code == 204
    assert lead.call("DELETE", f"{HOOKS}/{made['id']}").status_code == 404
    assert states(server) == []
    for wrong in (
        {"url": "file:///etc/passwd", "events": ["judgment"]},
        {"url": "http://name:password@example.org/", "events": ["judgment"]},
        {"url": "http://", "events": ["judgment"]},
        {"url": receiver.url, "events": []},
        {"url": receiver.url, "events": ["everything"]},
    ):
        assert lead.call("POST", HOOKS, wrong).status_code == 422
    assert lead.call("POST", "/projects/other/webhooks", {"url": receiver.url, "events": ["ended"]}).status_code == 404


def test_what_was_not_told_yet_survives_the_server(receiver: Receiver, tmp_path: Path):
    db = str(tmp_path / "s.db")
    held = tokens(db, {"ann": "annotator"})
    open_project(db, PROJECT, 2)
    down = Server(db)
    hook(down, receiver, "judgment")
    down.database.close()
    receiver.status = 500
    server = ServerProcess(db, tmp_path, "--webhook-hosts", receiver.host)
    with server:
        with Client(server.address, held["ann"]) as ann:
            item, _ = ann.next("helpfulness")
            assert item is not None
            ids = ann.hand_in(item, [{"question": 1, "verdict": "tie"}], 1.0)
        until(lambda: receiver.got)
        server.kill()
        receiver.status, tried = 200, len(receiver.got)
        server.start()
        until(lambda: len(receiver.got) > tried)
    assert all(event["judgments"] == ids for event in receiver.events())
