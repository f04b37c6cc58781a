"""An annotator's work over the API: what is given, what survives, what stays hidden."""

from __future__ import annotations

import threading

import pytest
from web_server import PROJECT, Server, better_left

from custodes.feedback.items import items_from_rows
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.project import parse_project
from custodes.types import hash_shown
from custodes.web import refresh
from custodes.web.leases import lease, offer_for, open_items_for
from custodes.web.projects import create_project, open_project
from custodes.web.work import claim

NEXT = "/projects/helpfulness/next"


def judgments(server: Server) -> list:
    runs = [run.id for run in server.database.ledger.runs() if run.recipe == "project helpfulness"]
    return list(server.database.ledger.judgments(runs[0]))


def test_a_project_from_first_to_last_judgment(anywhere: Server):
    anywhere.project(tasks=3)
    people = [anywhere.person(f"p{n}") for n in range(3)]
    seen: dict[str, list[str]] = {p.account: [] for p in people}
    for _ in range(5):
        for person in people:
            item = person.call("POST", NEXT).json()["item"]
            if item is not None:
                seen[person.account].append(item["prompt"][0]["content"])
                assert better_left(person, item).status_code == 201
    assert sum(map(len, seen.values())) == 6  # three items, two annotators each
    assert all(len(set(own)) == len(own) for own in seen.values())
    assert "every item has its overlap" in people[0].call("POST", NEXT).json()["why"]
    given = judgments(anywhere)
    assert len(given) == 6
    assert all(isinstance(j, Comparison) and j.seconds == 12.0 and j.guideline == "1" for j in given)
    episodes = {e.id: e for e in anywhere.database.ledger.episodes(anywhere.database.ledger.runs()[-1].id)}
    for j in given:
        first, second = (episodes[id_].completion for id_ in j.episodes)
        assert (j.strength > 0) == first.startswith("good")
        prompt = episodes[j.episodes[0]].task.messages[0].content
        assert j.shown == hash_shown(prompt, first, second)
    assert anywhere.database.ledger.verify().ok


def test_nobody_sees_models_ids_gold_or_purpose(server: Server):
    text = PROJECT.replace("gold_share: 0.0", "gold_share: 0.9")
    server.project(text, gold={"better": 1}, models=["secret-model", "other-model"])
    answer = server.person("ann").call("POST", NEXT)
    assert answer.json()["item"] is not None
    for hidden in ("secret-model", "other-model", "gold", "episode-", "purpose", "better"):
        assert hidden not in answer.text.replace(PROJECT, "")


def test_the_same_item_with_its_draft_comes_back_after_a_reconnect(server: Server):
    server.project()
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    saved = ann.call(
        "PUT", f"/assignments/{item['assignment']}/draft", {"draft": {"strength": 3, "text": "half a tho"}}
    )
    assert saved.json()["until"] > server.clock.now
    again = ann.call("POST", NEXT).json()["item"]
    assert again == {**item, "draft": {"strength": 3, "text": "half a tho"}, "until": saved.json()["until"]}


def test_handing_in_twice_is_once_and_otherwise_a_conflict(server: Server):
    server.project()
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    first, again = better_left(ann, item), better_left(ann, item)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = {"answers": [{"question": 1, "verdict": "tie"}], "seconds": 12.0}
    path = f"/assignments/{item['assignment']}/judgments"
    assert ann.call("POST", path, other).status_code == 409
    assert ann.call("POST", path, {**other, "revise": True}).status_code == 201
    (given,) = judgments(server)
    assert given.verdict == "tie"
    run = next(r.id for r in server.database.ledger.runs() if r.recipe.startswith("project"))
    assert len(list(server.database.ledger.judgments(run, history=True))) == 2  # the earlier one stays


def test_leases_expire_and_late_work_is_not_lost(server: Server):
    server.project(PROJECT.replace("overlap: 2 ", "overlap: 1 "), tasks=1)
    ann, bob = server.person("ann"), server.person("bob")
    item = ann.call("POST", NEXT).json()["item"]
    assert bob.call("POST", NEXT).json()["item"] is None
    server.clock.now += 30 * 60 + 1
    given = bob.call("POST", NEXT).json()["item"]
    assert given["prompt"] == item["prompt"]
    assert ann.call("PUT", f"/assignments/{item['assignment']}/draft", {"draft": {}}).status_code == 409
    assert better_left(ann, item).status_code == 201
    assert better_left(bob, given).status_code == 201
    assert len(judgments(server)) == 2


def test_one_reaches_only_ones_own_assignments(server: Server):
    server.project()
    ann, eve = server.person("ann"), server.person("eve")
    item = ann.call("POST", NEXT).json()["item"]
    assert better_left(eve, item).status_code == 404
    assert eve.call("PUT", f"/assignments/{item['assignment']}/draft", {"draft": {}}).status_code == 404
    assert eve.call("POST", f"/assignments/{item['assignment']}/skip", {}).status_code == 404


def test_skipped_items_go_to_somebody_else_and_flags_to_the_ledger(server: Server):
    server.project(PROJECT.replace("overlap: 2 ", "overlap: 1 "), tasks=1)
    ann, bob = server.person("ann"), server.person("bob")
    item = ann.call("POST", NEXT).json()["item"]
    path = f"/assignments/{item['assignment']}"
    assert ann.call("POST", f"{path}/skip", {"why": "names a person", "flag": True}).status_code == 204
    assert ann.call("POST", NEXT).json()["item"] is None
    assert better_left(ann, item).status_code == 409
    assert bob.call("POST", NEXT).json()["item"]["prompt"] == item["prompt"]
    run = next(r.id for r in server.database.ledger.runs() if r.recipe.startswith("project"))
    (flag,) = server.database.ledger.decisions(run)
    assert (flag.what, flag.why) == ("item flagged", "names a person")


def test_every_kind_of_answer_becomes_its_judgment(server: Server):
    server.project()
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    answers = [
        {"question": 1, "verdict": "both_bad"},
        {"question": 2, "place": 0, "value": 6},
        {"question": 2, "place": 1, "value": 2},
        {"question": 3, "place": 1, "choice": "no"},
    ]
    body = {"answers": answers, "seconds": 3.5, "reasons": ["polite", "clear"], "assistance": "critic-1"}
    assert ann.call("POST", f"/assignments/{item['assignment']}/judgments", body).status_code == 201
    compared, high, low, label, why = judgments(server)
    assert (compared.verdict, high.value, low.value, label.value) == ("both_bad", 6, 2, "no")
    assert isinstance(high, Rating)
    assert isinstance(label, Label)
    assert isinstance(why, Comment)
    assert high.episodes == compared.episodes[:1]
    assert label.episodes == low.episodes == compared.episodes[1:]
    assert why.text == "reasons: clear, polite"
    assert {j.assistance for j in (compared, high, label)} == {"critic-1"}


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([], "question 1 has no answer"),
        ([{"question": 9, "verdict": "tie"}], "question 9: the project has 3"),
        ([{"question": 1}], "the field 'verdict' is missing"),
        ([{"question": 1, "verdict": "prefer", "strength": 0}], "strength 0"),
        ([{"question": 1, "verdict": "prefer", "strength": 9}], "strength"),
        ([{"question": 1, "verdict": "tie"}, {"question": 1, "verdict": "tie"}], "answered twice"),
        ([{"question": 1, "verdict": "tie"}, {"question": 2, "place": 3, "value": 3}], "place 3, but 2 answers"),
        (
            [{"question": 1, "verdict": "tie"}, {"question": 2, "place": 0, "value": 0}],
            "give a whole number from 1 to 7",
        ),
        ([{"question": 1, "verdict": "tie"}, {"question": 3, "place": 0, "choice": "maybe"}], "choice 'maybe'"),
        (
            [{"question": 1, "verdict": "tie", "colour": "red"}],
            "no field 'colour'; a comparison takes verdict, strength",
        ),
        ([{"question": 1, "verdict": "tie", "weight": 9.0}], "no field 'weight'"),
        ([{"question": 1, "verdict": ["tie"]}], "question 1: field 'verdict': it should be"),
        ([{"question": 1, "verdict": ""}], "field 'verdict': 0 characters"),
        ([{"question": 1, "verdict": "tie"}, {"question": 2, "place": 0, "value": 5.5}], "value '5.5'; give a whole"),
        ([{"question": 1, "verdict": "tie"}, {"question": 2, "place": 0, "value": True}], "field 'value'"),
        ([{"question": 1, "verdict": "tie"}, {"question": 3, "place": 0, "choice": ["no"]}], "choice \"['no']\""),
    ],
)
def test_answers_that_do_not_fit_are_refused_in_one_sentence(server: Server, answers, says):
    server.project()
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    said = ann.call("POST", f"/assignments/{item['assignment']}/judgments", {"answers": answers, "seconds": 1.0})
    assert said.status_code == 422
    assert says in said.json()["detail"]
    assert judgments(server) == []


def test_repeated_items_come_back_in_an_order_of_their_own(server: Server):
    server.project(PROJECT.replace("repeat_share: 0.0", "repeat_share: 0.5"), tasks=12)
    ann = server.person("ann")
    shown: dict[str, list[str]] = {}
    while (item := ann.call("POST", NEXT).json()["item"]) is not None and len(shown) < 12:
        shown.setdefault(item["prompt"][0]["content"], []).append(item["answers"][0][0]["content"])
        assert better_left(ann, item).status_code == 201
        server.clock.now += 700
    again = [sides for sides in shown.values() if len(sides) == 2]
    assert len(again) >= 2
    assert max(map(len, shown.values())) == 2


def test_expertise_quotas_quarantine_and_closing(server: Server):
    text = PROJECT.replace("quotas: []", "quotas: [{field: country, shares: {DE: 0.5, FR: 0.5}}]")
    project = parse_project(text)
    rows = [{"prompt": f"Q{n}?", "answers": ["good", "bad"], "tags": ["law"] if n else []} for n in range(2)]
    create_project(server.database, text, items_from_rows(project, rows), "test")
    lead = server.person("lead", "lead")
    lay = server.person("lay", profile={"country": "DE"})
    first = lay.call("POST", NEXT).json()["item"]
    assert first["prompt"][0]["content"] == "Q0?"
    assert better_left(lay, first).status_code == 201
    assert "nothing for you" in lay.call("POST", NEXT).json()["why"]
    lawyer = server.person("lawyer", profile={"country": "DE", "expertise": ["law"]})
    assert better_left(lawyer, lawyer.call("POST", NEXT).json()["item"]).status_code == 201
    assert "enough has been heard" in lawyer.call("POST", NEXT).json()["why"]  # two of four are German
    french = server.person("french", profile={"country": "FR", "expertise": ["law"]})
    body = {"account": french.account, "why": "looks odd"}
    assert lead.call("POST", "/projects/helpfulness/quarantine", body).status_code == 204
    assert french.call("POST", NEXT).json()["item"] is None
    assert lead.call("POST", "/projects/helpfulness/quarantine", {**body, "lift": True}).status_code == 204
    assert french.call("POST", NEXT).json()["item"] is not None
    assert lead.call("POST", "/projects/helpfulness/close", {"why": "enough"}).status_code == 204
    late = server.person("late", profile={"country": "FR", "expertise": ["law"]})
    assert "the project has ended: enough" in late.call("POST", NEXT).json()["why"]


def test_people_at_the_same_time_lose_and_double_nothing(anywhere: Server):
    anywhere.project(tasks=8)
    people = [anywhere.person(f"p{n}") for n in range(4)]
    done: list[str] = []

    def work(person) -> None:
        while (item := person.call("POST", NEXT).json()["item"]) is not None:
            said = better_left(person, item)
            assert said.status_code == 201
            done.append(said.json()["judgments"][0])

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = judgments(anywhere)
    assert sorted(j.id for j in given) == sorted(done)
    assert len(given) == 16
    assert len({(j.annotator, j.task) for j in given}) == 16


def test_an_offer_that_others_were_faster_to_take_is_none(anywhere: Server):
    anywhere.project(PROJECT.replace("overlap: 2 ", "overlap: 1 "), tasks=1)
    database = anywhere.database
    for name in ("ann", "ben"):
        anywhere.person(name)
    people = database.accounts.all()
    offers = []
    with database.reading() as connection:
        project, run, _ = open_project(connection, "helpfulness")
        for person in people:
            found = open_items_for(connection, project, run, person)
            offers.append(offer_for(database, connection, project, run, person, found))
    given = []
    for person, offer in zip((*people, people[0]), (*offers, offers[0]), strict=True):
        assert offer is not None
        with database.writing() as connection:
            given.append(lease(database, connection, project, person, offer))
    assert given[0] is not None
    assert given[0].account == people[0].id
    assert given[1:] == [None, None]  # the place was taken; somebody has one item at a time
    assert claim(database, "helpfulness", people[0])[0] is not None
    assert claim(database, "helpfulness", people[1])[0] is None


def test_a_draft_waits_for_no_writer_and_writers_for_no_draft(postgresql: Server):
    postgresql.project()
    ann = postgresql.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    with postgresql.database.writing():
        saved = ann.call("PUT", f"/assignments/{item['assignment']}/draft", {"draft": {"text": "kept"}})
    assert saved.status_code == 200
    assert ann.call("POST", NEXT).json()["item"]["draft"] == {"text": "kept"}


def test_the_desk_knows_gold_reliability_and_agreement(server: Server):
    text = PROJECT.replace("overlap: 2 ", "overlap: 4 ")
    project = parse_project(text)
    rows = [{"prompt": f"Q{n}?", "answers": [f"good {n}", f"bad {n}"]} for n in range(6)]
    create_project(server.database, text, items_from_rows(project, rows), "test")
    people = [server.person(f"p{n}") for n in range(4)]
    for person in people:
        while (item := person.call("POST", NEXT).json()["item"]) is not None:
            better_left(person, item)
    found = server.person("lead", "lead").call("GET", "/projects/helpfulness/quality").json()
    assert found["judgments"] == {"comparison": 24}
    assert found["agreement"]["alpha"]["estimate"] == pytest.approx(1.0, abs=0.3)
    assert set(found["people"]) == {p.account for p in people}
    assert all(person["reliability"]["estimate"] > 0 and "alarm" in person for person in found["people"].values())


def test_active_selection_asks_about_what_is_known_least(server: Server, monkeypatch):
    monkeypatch.setattr(refresh, "EVERY", 2)
    server.project(PROJECT.replace("selection: random", "selection: active"), tasks=3)
    ann, bob = server.person("ann"), server.person("bob")
    first = ann.call("POST", NEXT).json()["item"]
    assert better_left(ann, first).status_code == 201
    second = bob.call("POST", NEXT).json()["item"]
    assert better_left(bob, second).status_code == 201  # both know least of nothing: the model is fitted now
    asked = {first["prompt"][0]["content"], second["prompt"][0]["content"]}
    third = ann.call("POST", NEXT).json()["item"]
    assert third["prompt"][0]["content"] not in asked or len(asked) == 1
    progress = server.person("rev", "reviewer").call("GET", "/projects/helpfulness/progress").json()
    assert 0 < progress["uncertainty"] < 0.5


def test_a_project_ends_when_its_result_is_sure_enough(server: Server, monkeypatch):
    monkeypatch.setattr(refresh, "EVERY", 1)
    text = PROJECT.replace("stopping: {}", "stopping: {uncertainty: 0.45}").replace("overlap: 2 ", "overlap: 50 ")
    server.project(text, tasks=2)
    for n in range(10):
        person = server.person(f"p{n}")
        while (found := person.call("POST", NEXT).json())["item"] is not None:
            assert better_left(person, found["item"]).status_code == 201
        if "ended" in found["why"]:
            break
    assert "wrong with probability 0." in found["why"]
    assert len(judgments(server)) < 20


def test_what_was_handed_in_last_comes_back_and_what_is_taken_back_is_withdrawn(server: Server):
    server.project(PROJECT.replace("reasons: [correct", "reasons: [right, correct"))
    ann = server.person("ann")
    assert ann.call("GET", "/projects/helpfulness/last").json()["item"] is None
    item = ann.call("POST", NEXT).json()["item"]
    ann.call("PUT", f"/assignments/{item['assignment']}/draft", {"draft": {"values": {"q1": "2"}}})
    assert better_left(ann, item, reasons=["right"]).status_code == 201
    last = ann.call("GET", "/projects/helpfulness/last").json()["item"]
    assert (last["assignment"], last["answers"]) == (item["assignment"], item["answers"])
    assert last["draft"] == {"values": {"q1": "2"}}
    assert better_left(ann, item, revise=True).status_code == 201  # without the reason
    assert [j.text for j in judgments(server) if isinstance(j, Comment)] == ["withdrawn"]
    run = next(run.id for run in server.database.ledger.runs() if run.recipe == "project helpfulness")
    told = [j.text for j in server.database.ledger.judgments(run, history=True) if isinstance(j, Comment)]
    assert told == ["reasons: right", "withdrawn"]


# ---------------------------------------------------------------- what a person did, and nothing else


def kinds(server: Server) -> list[str]:
    return [type(judgment).__name__ for judgment in judgments(server)]


EDITED = PROJECT[: PROJECT.index("questions:")] + (
    "questions:\n"
    "- {kind: comparison}\n"
    "- {kind: correction, optional: true}\n"
    "- {kind: span, optional: true, values: [{value: wrong, title: Wrong}]}\n"
    "- {kind: step, optional: true}\n"
)


def hand_in(person, item, *answers, seconds: float = 5.0, **more):
    body = {"answers": list(answers), "seconds": seconds, **more}
    return person.call("POST", f"/assignments/{item['assignment']}/judgments", body)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_correction_that_nobody_made_is_not_written(server: Server, end: str):
    rows = [{"prompt": "Q?", "answers": [f"One.{end}Two.", f"Three.{end}Four."]}]
    create_project(server.database, EDITED, items_from_rows(parse_project(EDITED), rows), "test")
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    texts = [answer[0]["content"].replace("\r\n", "\n").replace("\r", "\n") for answer in item["answers"]]
    unedited = [{"question": 2, "place": n, "text": text} for n, text in enumerate(texts)]
    assert hand_in(ann, item, {"question": 1, "verdict": "tie"}, *unedited).status_code == 201
    assert kinds(server) == ["Comparison"]
    edited = {"question": 2, "place": 0, "text": texts[0] + "\nFive."}
    assert hand_in(ann, item, {"question": 1, "verdict": "tie"}, edited, revise=True).status_code == 201
    (correction,) = (j for j in judgments(server) if isinstance(j, Correction))
    assert correction.text == f"{item['answers'][0][0]['content']}{end}Five."


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"question": 3, "place": 0, "start": 0, "end": 9, "choice": "wrong"}, "the answer has 8 characters"),
        ({"question": 3, "place": 0, "start": 70_000, "end": 70_001, "choice": "wrong"}, "the answer has 8 characters"),
        ({"question": 4, "place": 0, "step": 1, "value": 1}, "the answer has 1 steps"),
    ],
)
def test_what_lies_beyond_the_text_is_refused(server: Server, answer, says):
    rows = [{"prompt": "Q?", "answers": ["8 signs.", "8 signs!"]}]
    create_project(server.database, EDITED, items_from_rows(parse_project(EDITED), rows), "test")
    ann = server.person("ann")
    said = hand_in(ann, ann.call("POST", NEXT).json()["item"], {"question": 1, "verdict": "tie"}, answer)
    assert said.status_code == 422
    assert says in said.json()["detail"]
    assert kinds(server) == []


@pytest.mark.parametrize(
    "draft",
    [
        {"values": []},
        {"values": {"q1": 1}},
        {"values": {"q1": {"a": "b"}}},
        {"seconds": "long"},
        {"seconds": [1.0]},
        {"seconds": -1.0},
        {"stage": "third"},
        {"own": {"nested": {}}},
        {"own": [[]]},
        [],
        None,
    ],
)
def test_a_draft_of_another_shape_is_refused(server: Server, draft):
    server.project()
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    assert ann.call("PUT", f"/assignments/{item['assignment']}/draft", {"draft": draft}).status_code == 422


def test_nobody_works_longer_than_the_servers_clock_says(server: Server):
    server.project(PROJECT.replace("stopping: {}", "stopping: {hours: 1}"))
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    server.clock.now += 7
    body = {"answers": [{"question": 1, "verdict": "tie"}], "seconds": 86_400.0}
    path = f"/api/assignments/{item['assignment']}/judgments"
    assert ann.client.post(path, json=body).status_code == 201
    server.clock.now += 100
    assert ann.client.post(path, json=body).status_code == 201  # the same again is the same
    assert {j.seconds for j in judgments(server)} == {7.0}
    assert ann.call("GET", "/projects").json()[0]["own"]["seconds"] == 7.0
    assert ann.client.post(path, json=body | {"revise": True}).status_code == 201
    assert {j.seconds for j in judgments(server)} == {100.0}
    assert ann.call("POST", NEXT).json()["item"] is not None  # the project goes on
