"""What a person said can be withdrawn: it is gone from the disk, the chain still verifies, and the gap says so."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import postgres
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from strategies import records

from custodes.cli import main
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.job.recording import Recording
from custodes.ledger import Decision, Ledger, verify_ledger
from custodes.ledger.chain import GENESIS, _joined_hash
from custodes.ledger.checking import check_ledger
from custodes.ledger.codec import encode
from custodes.ledger.database import LedgerDatabase
from custodes.ledger.redacting import Redacted, RedactionChoice, redact, withdrawn_rows
from custodes.ledger.sealing import _digests_of, hashed_body, leaves, seal, withdraw
from custodes.types import Annotator, Episode, InputError, Message, Task

SECRET = 'my cousin Ildikó has "blue" hair'
PAIR = ("e1", "e2")


def comment(i: int, annotator: str = "ann", said: str = SECRET) -> Comment:
    return Comment(id=f"c{i}", annotator=annotator, task="t", episodes=("e1",), text=f"{said} {i}")


def episode(id: str, prompt: str) -> Episode:
    task = Task("t", (Message("user", prompt),), metadata={"source": "chat"})
    reply = (*task.messages, Message("assistant", "well"))
    arrays = np.arange(3, dtype=np.int32), np.ones(3, bool), np.zeros(3, np.float32)
    return Episode(id, task, reply, *arrays, outcome="stop", policy="p")


@pytest.fixture
def said(ledger: Ledger, run: str) -> Ledger:
    """Row 1 is the run, 2 the annotator, 3 and 4 episodes, 5 to 7 comments of two people, 8 a comparison."""
    ledger.write(run, [Annotator("ann", "human", {"country": "Atlantis", "age": "33"})])
    ledger.write(run, [episode("e1", "nothing of note"), episode("e2", f"Please write that {SECRET} now")])
    ledger.write(run, [comment(1), comment(2), comment(3, "bob", "fine")])
    ledger.write(run, [Comparison(id="x", annotator="ann", task="t", episodes=PAIR, strength=2)])
    return ledger


def withdrawn(ledger: Ledger, **choice: object) -> Redacted:
    return redact(ledger, RedactionChoice(**choice), who="Eve", why="she asked")  # type: ignore[arg-type]


def stored(where: str, server: postgres.Server | None = None) -> bytes:
    """Everything that the database has on the disk, but the server's own log of writes."""
    if "://" not in where:
        return b"".join(path.read_bytes() for path in sorted(Path(where).parent.glob("ledger.db*")))
    assert server is not None
    server.run("CHECKPOINT", where)
    folder = Path(parse_qs(urlparse(where).query)["host"][0]) / "data" / "base"
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@settings(deadline=None, max_examples=60)
@given(records, st.data())
def test_the_hash_of_a_row_does_not_change_whatever_is_withdrawn(record: object, data: st.DataObject) -> None:
    body = seal(encode(record).body)  # type: ignore[arg-type]
    left = body
    for _ in range(2):  # twice: what was withdrawn before stays withdrawn
        paths = [path for path, _ in leaves(left)]
        left = withdraw(left, data.draw(st.sets(st.sampled_from(paths), max_size=4)) if paths else set())
        assert hashed_body(left) == hashed_body(body)
        assert _digests_of(left) == _digests_of(body)
        assert dict(leaves(left)).items() <= dict(leaves(body)).items()


def test_the_same_text_has_another_digest_in_each_row() -> None:
    bodies = [seal('{"text":"yes","also":"yes"}') for _ in range(20)]
    assert len({digest for body in bodies for digest in _digests_of(body).values()}) == 40


@pytest.mark.parametrize(
    "broken",
    [
        lambda b: b.replace('"a":1', '"a":2'),
        lambda b: b.replace('"a":1', '"a" :1'),
        lambda b: b[:-1] + ",}",
        lambda b: b[:-1] + ',"~":"0"}',
        lambda b: b + " ",
        lambda b: b.replace('"b":2', '"b":2,"b":3'),
        lambda b: '{"~":{"kept":{},"withdrawn":{}}}',
        lambda b: '{"~":7,"a":1,"b":2}',
        lambda b: hashed_body(b),
    ],
)
def test_no_other_body_gives_the_hash(broken: object) -> None:
    body = seal('{"a":1,"b":2}')
    try:
        other = hashed_body(broken(body))  # type: ignore[operator]
    except ValueError:
        return
    assert other != hashed_body(body)


def test_a_persons_words_are_gone_and_the_chain_holds(said: Ledger, where: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres_server") if "://" in where else None
    origin, head = said.head().origin, said.head().head
    assert b"cousin" in stored(where, server)
    found = withdrawn(said, annotator="ann")
    assert [(row["row"], row["fields"]) for row in found.rows] == [
        (2, ["profile.country", "profile.age"]),
        (5, ["text"]),
        (6, ["text"]),
        (8, ["verdict", "strength"]),
    ]
    rest = withdrawn(said, holding='Ildikó has "blue"')
    assert [(row["row"], set(row["fields"])) for row in rest.rows] == [(4, {"task.messages", "token_ids", "logprobs"})]
    assert (rest.still, rest.unwiped, rest.exit_code) == ([], "", 0)
    said.close()
    left = stored(where, server)
    for word in ("Ildik", "cousin", "blue", "Atlantis"):
        assert word.encode() not in left, word
    checked = check_ledger(where, head=head)
    assert checked.ok, checked.problems
    assert said.head().origin == origin
    assert [(w["row"], w["kind"], w["who"], w["why"]) for w in checked.withdrawn] == [
        (row, kind, "Eve", "she asked")
        for row, kind in ((2, "annotator"), (5, "judgment"), (6, "judgment"), (8, "judgment"), (4, "episode"))
    ]
    sentence = (
        "by Eve: profile.age, profile.country of 1 annotator row; strength, text, verdict of 3 judgment rows. Why:"
    )
    assert sentence in checked.notes[0]


def test_readers_get_what_is_left(said: Ledger, run: str) -> None:
    withdrawn(said, annotator="ann")
    withdrawn(said, rows=[4])
    assert [j.id for j in said.judgments(run)] == ["c3"]
    assert [e.id for e in said.episodes(run)] == ["e1"]
    assert [(a.id, a.profile) for a in said.annotators(run)] == [("ann", {})]
    assert [w.readable for w in withdrawn_rows(said, run)] == [True, False, False, False, False]
    said.write(run, [comment(1), episode("e2", "another prompt"), Annotator("ann", "human", {"age": "34"})])
    assert said.head().rows == 10  # a run that repeats its last step writes nothing of it again
    assert said.verify().ok
    with pytest.raises(InputError, match="says something else"):
        said.write(run, [Comment(id="c1", annotator="bob", task="t", episodes=("e1",), text="")])


def test_an_edit_that_calls_itself_a_withdrawal_is_found(said: Ledger, where: str) -> None:
    withdrawn(said, rows=[5])

    def edited(statement: str) -> str:
        database = LedgerDatabase(where)
        with database.rewriting() as connection:
            connection.execute(text(statement))
        database.close()
        return verify_ledger(where).problem or ""

    with said.reading() as connection:
        body = connection.scalar(text("SELECT body FROM log WHERE seq = 6"))
    quoted = withdraw(str(body), ['["text"]']).replace("'", "''").replace(":", "\\:")
    assert "row 6 (judgment 'c2') lacks text: no row of the ledger says who withdrew it" in edited(
        f"UPDATE log SET body = '{quoted}' WHERE seq = 6"
    )
    assert "row 5 (judgment 'c1') was edited" in edited(
        'UPDATE log SET body = replace(body, \'"annotator"\\:"ann"\', \'"annotator"\\:"bob"\') WHERE seq = 5'
    )


def test_bad_choices_change_nothing(said: Ledger, run: str) -> None:
    hole = Decision("d", "hole in the record", "unknown")
    said.write(run, [hole])
    before = said.head()
    for choice, sentence in [
        ({}, "nothing is chosen"),
        ({"rows": [99]}, "row 99 is not in this ledger"),
        ({"annotator": "nobody"}, "no row of this choice"),
        ({"rows": [5], "fields": ["texts"]}, "no chosen row has a field 'texts'"),
        ({"rows": [1], "fields": ["seed"]}, "seed of row 1 .* cannot be withdrawn"),
        ({"rows": [9]}, "why of row 9 .* cannot be withdrawn"),
    ]:
        with pytest.raises(InputError, match=sentence):
            withdrawn(said, **choice)
    assert said.head().head == before.head


def of_first_format(where: str) -> None:
    """A ledger as version 0.1 wrote it: bodies without seals, and no newer view."""
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)
        ledger.write(run, [comment(1), comment(2)])
    database = LedgerDatabase(where)
    with database.rewriting() as connection:
        previous = GENESIS
        for row in connection.execute(text("SELECT * FROM log ORDER BY seq")).all():
            body = "{" + row.body[40:]
            hash = _joined_hash(row.seq, row.at, row.run, row.kind, row.key, body, row.supersedes, previous)
            change = text("UPDATE log SET body = :body, previous = :previous, hash = :hash WHERE seq = :seq")
            connection.execute(change, {"body": body, "previous": previous, "hash": hash, "seq": row.seq})
            previous = hash
        connection.execute(text("UPDATE head SET hash = :hash"), {"hash": previous})
        connection.execute(text("DROP VIEW redactions"))
        connection.execute(text("UPDATE ledger_version SET version_num = '0001'"))
    database.close()


def test_a_ledger_of_the_first_format_is_verified_read_and_gone_on_with(where: str) -> None:
    of_first_format(where)
    before = check_ledger(where)
    assert (before.ok, before.rows) == (True, 3)
    with Ledger.open(where) as ledger:
        (run,) = ledger.runs()
        ledger.write(run.id, [comment(2), comment(3)])
        assert ledger.holds(3, before.head)
        assert ledger.verify().ok
        assert ledger.head().rows == 4
        withdrawn(ledger, rows=[2, 4], fields=["text"])
        assert ledger.verify().ok
        assert [j.id for j in ledger.judgments(run.id)] == ["c2"]
    database = LedgerDatabase(where)
    with database.rewriting() as connection:
        connection.execute(text("UPDATE log SET body = replace(body, 'ann', 'bob') WHERE seq = 2"))
    database.close()
    assert "row 2 (judgment 'c1') was edited after something was withdrawn" in (verify_ledger(where).problem or "")


def test_another_process_that_reads_is_told_and_the_next_call_wipes(tmp_path: Path) -> None:
    where = str(tmp_path / "ledger.db")
    with Ledger.open(where) as ledger, Ledger.open(where, read_only=True) as reader:
        run = ledger.start_run("test", {}, seed=0)
        ledger.write(run, [comment(1)])
        with reader.reading() as connection:
            assert connection.scalar(text("SELECT count(*) FROM log")) == 2
            assert "another process reads" in withdrawn(ledger, rows=[2]).unwiped
        again = withdrawn(ledger, rows=[2])
        assert (again.rows, again.unwiped) == ([], "")
        assert ledger.head().rows == 3
    assert b"cousin" not in stored(where)


def test_files_that_hold_the_text_are_named_and_can_be_withdrawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where, table = tmp_path / "ledger.db", tmp_path / "answers.jsonl"
    table.write_text(json.dumps({"text": f"{SECRET} 1"}) + "\n")
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)
        ledger.write(run, [comment(1)])
        Recording(ledger, run).keep(table)
        ledger.end_run(run)
    call = ["ledger", "redact", str(where), "--by", "Eve", "--why", "she asked"]
    assert main([*call, "--row", "2", "--dry-run"]) == 0
    assert verify_ledger(where).rows == 4
    assert main([*call, "--row", "2", "--json"]) == 1
    (sentence,) = json.loads(capsys.readouterr().out.splitlines()[-1])["still"]
    assert sentence.startswith(f"{table} still holds a text")
    assert main([*call, "--row", "2", "--file", str(table)]) == 0
    assert not table.exists()
    assert main(["verify", str(where)]) == 0
    assert "answers.jsonl was withdrawn on" in capsys.readouterr().out
    table.write_text("back again\n")
    assert main(["verify", str(where)]) == 1
    assert main([*call]) == 2
    assert main(["ledger", "redact", str(where), "--row", "2", "--why", " "]) == 2
    assert main(["ledger", "redact", str(tmp_path / "none.db"), "--row", "2", "--why", "x"]) == 2
    assert not (tmp_path / "none.db").exists()
