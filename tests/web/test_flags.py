"""Flags reach the leads, as a list and as an event, and are answered."""

from __future__ import annotations

from receiver import Receiver
from web_server import PROJECT, Person, Server

from custodes.web.webhook_delivery import WebhookDelivery
from custodes.web.webhooks import add_webhook

NEXT = "/projects/helpfulness/next"
FLAGS = "/projects/helpfulness/flags"


def flag(person: Person, why: str, flagged: bool = True) -> str:
    id_ = person.call("POST", NEXT).json()["item"]["assignment"]
    assert person.call("POST", f"/assignments/{id_}/skip", {"why": why, "flag": flagged}).status_code == 204
    return str(id_)


def test_a_flag_is_listed_told_and_answered_once(anywhere: Server):
    receiver = Receiver()
    anywhere.project(PROJECT.replace("overlap: 2 ", "overlap: 3 "))
    add_webhook(anywhere.database, "helpfulness", receiver.url, ["flag"], "test")
    ann, lead = anywhere.person("ann"), anywhere.person("lead", "lead")
    flag(ann, "no time", flagged=False)
    id_ = flag(ann, "both answers are in Dutch")
    anywhere.clock.now += 1
    later = flag(ann, "the prompt is empty")
    (second, first) = lead.call("GET", FLAGS).json()
    assert (first["id"], first["by"], first["why"]) == (id_, ann.account, "both answers are in Dutch")
    assert first["prompt"].startswith("Question")
    assert first["answer"] == ""
    assert (second["id"], second["why"]) == (later, "the prompt is empty")
    WebhookDelivery(anywhere.database, [receiver.host]).deliver()
    told = {event["flag"]: event for event in receiver.events()}
    assert set(told) == {id_, later}
    assert (
        told[id_] | {"event": "flag", "annotator": ann.account, "why": first["why"], "item": first["item"]} == told[id_]
    )
    receiver.close()
    assert lead.call("POST", f"{FLAGS}/{later}/answer", {"text": "We took it out."}).status_code == 204
    assert lead.call("POST", f"{FLAGS}/{later}/answer", {"text": "again"}).status_code == 422
    assert lead.call("POST", f"{FLAGS}/{id_}/answer", {"text": "  "}).status_code == 422
    assert lead.call("POST", f"{FLAGS}/nothing/answer", {"text": "x"}).status_code == 404
    assert [f["id"] for f in lead.call("GET", FLAGS).json()] == [id_, later]  # the unanswered one first
    assert lead.call("GET", "/projects/helpfulness/quality").json()["flags"][1]["answer"].startswith("We took it out.")
    assert anywhere.database.ledger.verify().ok
