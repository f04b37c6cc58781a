"""Files are hashed into the chain in blocks, in SQLite and in PostgreSQL, and compared with what is on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.digests import blocks_of, digest
from custodes.job.growing import Growing
from custodes.job.recording import Recording, as_current, current
from custodes.ledger import Ledger
from custodes.ledger.checking import check_ledger
from custodes.types import InputError


@pytest.fixture
def recording(ledger: Ledger, run: str) -> Recording:
    return Recording(ledger, run)


def test_what_was_kept_is_compared(where: str, recording: Recording, tmp_path: Path) -> None:
    table, model = tmp_path / "out" / "rows.csv", tmp_path / "out" / "model.bin"
    table.parent.mkdir()
    table.write_text("".join(f"{i},yes\n" for i in range(50_000)))
    model.write_bytes(bytes(200_000))
    recording.keep(table.parent)
    recording.ledger.end_run(recording.run)
    assert check_ledger(where).ok
    table.write_text(table.read_text().replace("30000,yes", "30000,no!"))
    (problem,) = check_ledger(where).problems
    first, last = (int(n.replace(",", "")) for n in problem.split("in lines ")[1].split(":")[0].split(" to "))
    assert first <= 30_001 <= last
    assert last - first < 20_000
    model.write_bytes(bytes(199_999) + b"x")
    assert "model.bin was edited since" in check_ledger(where).problems[0]
    recording.keep(table.parent)  # a new version, by a run that says so
    assert check_ledger(where).ok
    table.unlink()
    assert "rows.csv is missing" in check_ledger(where).problems[0]


def test_a_file_that_changes_back_is_what_it_is(where: str, recording: Recording, tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    for content in ("one", "two", "one"):
        file.write_text(content)
        recording.keep(file)
        assert check_ledger(where).ok
    file.write_text("two")
    assert not check_ledger(where).ok


def test_an_input_that_was_written_again_by_a_run_is_no_problem(where: str, recording: Recording, tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_text("a\n")
    recording.keep_inputs({file: blocks_of(file)})
    file.write_text("b\n")
    recording.keep(file)
    recording.ledger.end_run(recording.run)
    assert check_ledger(where).ok
    with pytest.raises(InputError, match="not what this run read"):
        recording.keep_inputs({file: blocks_of(file)})


def test_a_growing_file_is_hashed_once(where: str, recording: Recording, tmp_path: Path) -> None:
    file = tmp_path / "grows.jsonl"
    growing = Growing(file)
    growing.watch(recording)
    for i in range(200):
        growing.append(f"line {i}\n".encode())
    with file.open("ab") as out:
        out.write(b"written, and interrupted before it was told\n")
    growing.close()
    recording.ledger.end_run(recording.run)
    blocks = [a for _, _, a in recording.ledger.artefacts()]
    assert [(b.first_line, b.last_line) for b in blocks] == [(1, 64), (65, 128), (129, 192), (193, 200), (201, 201)]
    assert check_ledger(where).ok
    file.write_bytes(file.read_bytes().replace(b"line 70\n", b"line 71\n"))
    assert "in lines 65 to 128" in check_ledger(where).problems[0]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([b"", b"x", b"some words", b"y" * 70_000]), max_size=12), st.booleans(), st.booleans())
def test_blocks_cover_a_file_line_by_line(tmp_path_factory, lines: list[bytes], ends: bool, text: bool) -> None:
    path = tmp_path_factory.mktemp("f") / ("f.jsonl" if text else "f.bin")
    content = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    path.write_bytes(content)
    blocks = blocks_of(path)
    assert [b.start for b in blocks] == [0, *(b.end for b in blocks[:-1])]
    assert blocks[-1].end == len(content)
    assert all(digest(path, b.start, b.end) == b.sha256 for b in blocks)
    if text and content:
        assert all(content[b.end - 1 : b.end] == b"\n" for b in blocks[:-1])
        assert [b.first_line for b in blocks] == [1, *(b.last_line + 1 for b in blocks[:-1])]
        assert blocks[-1].last_line == len(content.splitlines())


def test_one_run_is_current_and_none_after_it(recording: Recording) -> None:
    assert current() is None
    with as_current(recording):
        assert current() is recording
    assert current() is None
