"""One row is shown to belong to a head, and no other row can be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.cli import main
from custodes.feedback.kinds.comment import Comment
from custodes.ledger import Ledger
from custodes.ledger.heads import make_key, read_private_key, sign_head
from custodes.ledger.merkle import merkle_path, merkle_roots, root_of_path

HASHES = [hashlib.sha256(bytes([i])).hexdigest() for i in range(70)]


def test_the_roots_are_those_of_the_standard() -> None:
    """RFC 9162, 2.1.1, written out for 1, 2 and 3 leaves."""
    leaf = [hashlib.sha256(b"\0" + bytes.fromhex(h)).digest() for h in HASHES]
    pair = hashlib.sha256(b"\1" + leaf[0] + leaf[1]).digest()
    three = hashlib.sha256(b"\1" + pair + leaf[2]).digest()
    expected = {1: leaf[0].hex(), 2: pair.hex(), 3: three.hex()}
    assert merkle_roots(HASHES, [1, 2, 3]) == expected
    assert merkle_roots(HASHES[:2], [3]) == {}


@settings(deadline=None)
@given(st.integers(1, 70), st.data())
def test_a_path_leads_to_the_root_for_its_own_leaf_and_place_alone(size: int, data: st.DataObject) -> None:
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    path, root = merkle_path(HASHES[:size], index), merkle_roots(HASHES, [size])[size]
    assert len(path) <= size.bit_length()
    assert root_of_path(HASHES[index], index, size, path) == root
    if other != index:
        assert root_of_path(HASHES[other], index, size, path) != root
        assert root_of_path(HASHES[index], other, size, path) != root
    assert root_of_path(HASHES[index], index, size, [*path, HASHES[0]]) is None
    assert root_of_path(HASHES[index], size, size, path) is None


@pytest.fixture
def written(tmp_path: Path) -> Path:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        run = ledger.start_run("test", {}, seed=0)
        for i in range(6):
            ledger.write(run, [Comment(id=f"c{i}", annotator="ann", task="t", episodes=("e",), text=f"secret {i}")])
    return tmp_path / "ledger.db"


def test_a_receipt_shows_a_row_alone_and_withholds_what_it_should(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTODES_LEDGER_KEY", str(tmp_path / "key"))
    public = make_key(tmp_path / "key")
    heads, receipt = tmp_path / "heads.jsonl", tmp_path / "receipt.json"
    assert main(["ledger", "sign", str(written), "--head-file", str(heads)]) == 0
    assert main(["ledger", "receipt", str(written), "--row", "4", "--withhold", "text"]) == 0
    text = capsys.readouterr().out.splitlines()[-1]
    assert "secret" not in text
    receipt.write_text(text)
    keys = ["--head-file", str(heads), "--public-key", str(public)]
    assert main(["verify", str(receipt), *keys]) == 0
    shown = capsys.readouterr().out
    assert "row 4 (judgment 'c2') is one of the 7 rows under the root" in shown
    assert "is shown without text; their digests are there" in shown
    told = json.loads(text)
    for change, said in [
        (("row", "key", "c9"), "was edited"),
        (("row", "body", told["row"]["body"].replace("ann", "bob")), "was edited"),
        (("head", "root", HASHES[0]), "is not among the 7 rows"),
        (("head", "time", "2020"), "is not signed by"),
    ]:
        forged = json.loads(text)
        forged[change[0]][change[1]] = change[2]
        receipt.write_text(json.dumps(forged))
        assert main(["verify", str(receipt), *keys]) == 1
        assert said in capsys.readouterr().out
    with Ledger.open(written) as ledger:
        ledger.start_run("later", {}, seed=0)
    receipt.write_text(text)
    assert main(["verify", str(receipt), *keys]) == 0  # a later row does not matter
    assert main(["verify", str(written), *keys]) == 0
    for bad in ("{}", "{"):
        receipt.write_text(bad)
        assert main(["verify", str(receipt)]) == 2
    assert main(["ledger", "receipt", str(written), "--row", "99"]) == 2
    assert main(["ledger", "receipt", str(written), "--row", "4", "--withhold", "texts"]) == 2


def test_a_head_whose_root_is_of_other_rows_is_found(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public = make_key(tmp_path / "key")
    with Ledger.open(written) as ledger:
        head = ledger.head(root=True)
    from dataclasses import asdict, replace

    key = read_private_key(tmp_path / "key")
    for root, code in ((head.root, 0), ("", 0), (HASHES[0], 1)):
        (tmp_path / "heads.jsonl").write_text(json.dumps(asdict(sign_head(replace(head, root=root), key))) + "\n")
        given = ["--head-file", str(tmp_path / "heads.jsonl"), "--public-key", str(public)]
        assert main(["verify", str(written), *given]) == code
    assert "the rows do not give the root" in capsys.readouterr().out
