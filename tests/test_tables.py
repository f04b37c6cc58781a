"""Tables: what can be read and written, and one clear sentence for what cannot."""

import gzip
import json
import random
import resource
import sys
import warnings
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custodes.table_sources import EXTENSIONS, hub_rows
from custodes.tables import hash_table, read_rows, write_rows
from custodes.types import InputError

GOOD = {"prompt": "q", "chosen": "a", "rejected": "b"}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries({"text": texts, "n": st.integers(-9, 9)}, optional={"x": st.floats(0, 1)}), min_size=1
    )
)
def test_rows_come_back(tmp_path: Path, rows: list[dict]) -> None:
    for extension in (".jsonl", ".json", ".parquet", ".arrow"):
        path = write_rows(tmp_path / f"rows{extension}", rows)
        assert [row.values for row in read_rows(path)] == rows
        assert [row.number for row in read_rows(path)] == list(range(1, len(rows) + 1))


def test_a_json_file_may_hold_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert [row.values for row in read_rows(path)] == [{"a": 1}, {"a": 2}]


def test_blank_lines_hold_nothing_and_count_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"a": "x\u2028y"}\n\n{"a": 2}\n\n')
    assert [row.number for row in read_rows(path)] == [1, 3]


def test_malformed_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prefs.jsonl"
    lines = [json.dumps(GOOD)] * 5_000
    lines[4_216] = '{"prompt": "q", "chosen": "a" "rejected": "b"}'
    path.write_text("\n".join(lines))
    with pytest.raises(
        InputError, match=r"prefs\.jsonl, row 4,217: not valid JSON \(Expecting ',' delimiter, column 31\)"
    ):
        read_rows(path)


@pytest.mark.parametrize("content", ["[1, 2]", '"text"', "3"])
def test_rows_are_objects(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(GOOD) + "\n" + content)
    with pytest.raises(InputError, match=r"row 2: found \w+; it should be an object"):
        read_rows(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.txt", b"a,b", "unknown extension; give .jsonl"),
        ("rows.csv", b"a,b", "is empty"),
        ("rows.jsonl", b"", "is empty; it should hold at least one row"),
        ("rows.jsonl", b"\n \n", "is empty"),
        ("rows.json", b"[]", "is empty"),
        ("rows.json", b'[{"a": 1},\n{"a": ]', "line 2: not valid JSON"),
        ("rows.jsonl", b'{"a": "\xff"}', "is not UTF-8 text"),
        ("rows.jsonl.gz", b"plain", "damaged or not what its name says"),
        ("rows.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-20], "damaged or not what its name says"),
        ("rows.parquet", b"plain", "damaged or not what its name says"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says) as error:
        read_rows(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_empty_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="is empty"):
        read_rows(tmp_path / "rows.parquet")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_rows(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match=r"0 tables \(none\)"):
        read_rows(tmp_path)
    write_rows(tmp_path / "one.jsonl", [GOOD])
    (tmp_path / "README.md").write_text("not a table")
    assert read_rows(tmp_path)[0].values == GOOD
    write_rows(tmp_path / "two.parquet", [GOOD])
    with pytest.raises(InputError, match=r"2 tables \(one.jsonl, two.parquet\); name one file"):
        read_rows(tmp_path)


def test_writing_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown extension"):
        write_rows(tmp_path / "rows.txt", [GOOD])
    with pytest.raises(InputError, match="cannot be written"):
        write_rows(tmp_path / "none" / "rows.jsonl", [GOOD])
    with pytest.raises(InputError, match="parquet cannot hold these rows"):
        write_rows(tmp_path / "rows.parquet", [{"a": 1}, {"a": "x"}])


# ---------------------------------------------------------------- one table, however people keep it


PEOPLE = [{"task": "t1", "worker": "w1", "label": "yes"}, {"task": "t2", "worker": "w2", "label": 'no, "never"'}]


def read(path: Path, **more: object) -> tuple[list[dict], str]:
    """The rows, and what was said about them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = read_rows(path, **more)  # type: ignore[arg-type]
    assert [str(w.message) for w in caught] == rows.notes
    return [row.values for row in rows], "\n".join(rows.notes)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_every_kind_of_file_packed_or_not_holds_the_same_rows(tmp_path: Path, extension: str) -> None:
    assert read(write_rows(tmp_path / f"ROWS{extension.upper()}", PEOPLE)) == (PEOPLE, "")


@pytest.mark.parametrize(
    ("separator", "said"), [(",", ""), (";", "semicolons separate"), ("\t", "tabs separate"), ("|", "bars separate")]
)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_separators_line_ends_and_encodings_are_found(
    tmp_path: Path, separator: str, said: str, ends: str, encoding: str
) -> None:
    lines = ["task{0}worker{0}label", 't1{0}w1{0}"a, b; c | d\t\u00e9"', 't2{0}w2{0}"two\nlines"', "", ""]
    text = ends.join(line.format(separator) for line in lines)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    rows, notes = read(tmp_path / "t.csv")
    assert [row["label"] for row in rows] == ["a, b; c | d\t\u00e9", "two\nlines"]
    assert said in notes
    assert ("was read as UTF-" in notes) == (not encoding.startswith("utf-8"))


def test_a_spreadsheets_line_about_its_separator_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("sep=;\na;b\n1;2,5\n")
    assert [(row.number, row.values) for row in read_rows(tmp_path / "t.csv")] == [(3, {"a": "1", "b": "2,5"})]


def test_a_column_of_text_with_separators_in_it_stays_one_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("prompt\nWhat is; this\nAnd | that; then\n")
    assert read(tmp_path / "t.csv")[0] == [{"prompt": "What is; this"}, {"prompt": "And | that; then"}]
    (tmp_path / "t.csv").write_text("prompt\nWhat, is\n")
    with pytest.raises(InputError, match=r"t\.csv, row 2: more fields than the header; quote fields that hold commas"):
        read_rows(tmp_path / "t.csv")


def test_long_fields_are_read(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * 200_000, "chosen": "a"}]
    assert read(write_rows(tmp_path / "t.csv", rows))[0] == rows


def test_known_columns_are_found_without_regard_to_case_and_blanks(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(" Task ,WORKER ID,Label,,Note To Self\nt1,w1,yes,0,x\n")
    rows, notes = read(tmp_path / "t.csv", names={"task": (), "worker": ("worker_id",), "label": ()})
    assert rows == [{"task": "t1", "worker": "w1", "label": "yes", "Note To Self": "x"}]
    assert "'WORKER ID' for worker" in notes
    assert "a column without a name was left out" in notes
    (tmp_path / "t.jsonl").write_text('{"Prompt": "a", "chosen": "b"}\n{"prompt": "c", "Chosen ": "d"}\n')
    assert read(tmp_path / "t.jsonl", names=("prompt", "chosen"))[0] == [
        {"prompt": "a", "chosen": "b"},
        {"prompt": "c", "chosen": "d"},
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", "Label,label \na,b\n", "'Label' and 'label ' could both be 'label'"),
        ("t.csv", "label,label\na,b\n", r"t\.csv, row 1: the column 'label' stands there twice"),
        ("t.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', r"t\.jsonl, row 2, field 'a': it stands twice"),
        ("t.jsonl", '{"a": {"b": 1, "b": 2}}\n', r"row 1, field 'b': it stands twice"),
        ("t.json", '[{"a": 1}, {"a": 1, "a": 2}]', r"t\.json, the object .*, field 'a': it stands twice"),
        ("t.json", '{"a": [1, 2], "b": [1]}', r"t\.json: its columns differ in length \(a 2, b 1\)"),
        (
            "t.csv",
            "a,b\n1,\xe9".encode("latin-1").decode("utf-8", "surrogateescape"),
            r"is not UTF-8 text \(row 2, byte 6",
        ),
    ],
)
def test_what_could_mean_two_things_is_refused(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=says):
        read_rows(tmp_path / name, ("label",))


def test_json_may_hold_columns_or_a_list_under_a_name(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "chosen": "b"}, {"prompt": "c", "chosen": "d"}]
    columns = {"prompt": ["a", "c"], "chosen": ["b", "d"]}
    for content in (columns, {k: {"0": v[0], "1": v[1]} for k, v in columns.items()}):
        (tmp_path / "t.json").write_text(json.dumps(content))
        found, notes = read(tmp_path / "t.json")
        assert found == rows
        assert "holds columns" in notes
    (tmp_path / "t.json").write_text(json.dumps({"data": rows}))
    assert read(tmp_path / "t.json")[0] == rows
    one = {"prompt": [{"role": "user", "content": "a"}], "chosen": [{"role": "assistant", "content": "b"}]}
    (tmp_path / "t.json").write_text(json.dumps(one, indent=2))  # a row whose values are conversations
    assert read(tmp_path / "t.json") == ([one], "")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.jsonl.gz", "t.jsonl.zst"])
def test_what_is_no_character_is_marked_and_said(tmp_path: Path, name: str) -> None:
    lines = ['{"a": "cat \\ud83d", "b": [{"c": "x\\u0000"}]}', '{"a": "whole \\ud83d\\ude00 \\\\ud83d"}']
    text = f"[{','.join(lines)}]" if name == "t.json" else "\n".join(lines)
    data = text.encode()
    packed = {"gz": lambda: gzip.compress(data), "zst": lambda: pa.compress(data, "zstd", asbytes=True)}
    (tmp_path / name).write_bytes(packed.get(name.rsplit(".")[-1], lambda: data)())
    rows, notes = read(tmp_path / name)
    assert rows == [{"a": "cat \ufffd", "b": [{"c": "x\ufffd"}]}, {"a": "whole \U0001f600 \\ud83d"}]
    assert "row 1 held half a character or NUL; each was read as U+FFFD" in notes


def test_parquet_gives_what_json_can_hold(tmp_path: Path) -> None:
    table = pa.table(
        {
            "when": pa.array([datetime(2026, 1, 2, 3), None]),
            "n": pa.array([Decimal("1.50"), Decimal("2.00")]),
            "x": pa.array([float("nan"), 0.5]),
            "who": pa.array(["a", "b"]).dictionary_encode(),
            "turns": pa.array([[{"role": "user", "content": "q"}], []]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    first, second = read(tmp_path / "t.parquet")[0]
    assert first == {"when": "2026-01-02T03:00:00", "n": 1.5, "who": "a", "turns": [{"role": "user", "content": "q"}]}
    assert second == {"n": 2, "x": 0.5, "who": "b", "turns": []}


# ---------------------------------------------------------------- folders, shards, the hub


@pytest.mark.parametrize("extension", [".parquet", ".jsonl.zst", ".csv"])
def test_shards_are_one_table_in_order(tmp_path: Path, extension: str) -> None:
    for n in (1, 0, 2):
        write_rows(tmp_path / f"train-{n:05d}-of-00003{extension}", [{"a": f"{n}{m}"} for m in range(2)])
    (tmp_path / "dataset_info.json").write_text("{}")
    rows = read_rows(tmp_path)
    assert [row.values["a"] for row in rows] == ["00", "01", "10", "11", "20", "21"]
    assert rows[3].place.endswith(f"train-00001-of-00003{extension}, row {rows[1].number}")
    assert hash_table(tmp_path) == hash_table(tmp_path / "train")
    one, notes = read(tmp_path / f"train-00001-of-00003{extension}")
    assert len(one) == 2
    assert "is one of 3 shards" in notes
    write_rows(tmp_path / f"test-00000-of-00001{extension}", [{"a": "t"}])
    with pytest.raises(InputError, match=r"2 tables \(test-00000-of-00001\S+, train-00000-of-00003\S+ and 2 more\)"):
        read_rows(tmp_path)
    assert len(read(tmp_path / "train")[0]) == 6
    (tmp_path / f"train-00001-of-00003{extension}").unlink()
    with pytest.raises(InputError, match="shard 00001 of 3 is missing"):
        read_rows(tmp_path / "train")


def test_numbered_files_are_shards_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for n in (9, 10, 2):
        write_rows(tmp_path / f"part-{n}.jsonl", [{"a": n}])
    assert [row.values["a"] for row in read_rows(tmp_path)] == [2, 9, 10]
    write_rows(tmp_path / "part-11.csv", [{"a": 11}])
    with pytest.raises(InputError, match=r"2 tables \(part-2\.jsonl and 2 more, part-11\.csv\)"):
        read_rows(tmp_path)


def test_a_name_of_the_hub_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"somebody/pairs:train does not exist here; .* pip install 'custodes\[hub\]'"):
        read_rows("somebody/pairs:train")
    (tmp_path / "somebody").mkdir()
    write_rows(tmp_path / "somebody" / "pairs.jsonl", PEOPLE)
    assert read(Path("somebody/pairs.jsonl"))[0] == PEOPLE  # what is here comes first


def test_datasets_are_loaded_by_the_library(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    write_rows(tmp_path / "train.jsonl", PEOPLE)
    write_rows(tmp_path / "test.jsonl", PEOPLE[:1])
    notes: list[str] = []
    assert [values for _, _, values in hub_rows(str(tmp_path), None, None, notes)] == PEOPLE
    assert "the split 'train' was read; it has train, test" in notes[0]
    assert len(list(hub_rows(str(tmp_path), None, "test", []))) == 1
    with pytest.raises(InputError, match="has the splits train, test"):
        list(hub_rows(str(tmp_path), None, "best", []))


# ---------------------------------------------------------------- writing


def test_a_table_may_be_written_over_itself(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", PEOPLE)
    path.chmod(0o600)
    write_rows(path, (row.values | {"more": "x"} for row in read_rows(path)))
    assert [row.values["more"] for row in read_rows(path)] == ["x", "x"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["t.jsonl"]


def test_rows_that_fail_half_way_leave_the_file_as_it_was(tmp_path: Path) -> None:
    for extension in EXTENSIONS:
        path = write_rows(tmp_path / f"t{extension}", PEOPLE)
        before = path.read_bytes()
        with pytest.raises(InputError, match="cannot hold these rows"):
            write_rows(
                path,
                [*PEOPLE, {"task": object()}] if "csv" not in extension and "tsv" not in extension else [{"a": [1]}],
            )
        assert path.read_bytes() == before
        path.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, extension: str) -> None:
    path = write_rows(tmp_path / f"t{extension}", PEOPLE)
    before = path.read_bytes()
    rng = random.Random(0)
    rows = [{"task": str(rng.random())} for _ in range(3000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot be written: File too large"):
            write_rows(path, rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_no_file_is_written_to_directly(tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(write_rows(tmp_path / "t.jsonl", PEOPLE))
    write_rows(link, PEOPLE[:1])
    assert link.is_symlink()
    assert len(read_rows(tmp_path / "t.jsonl")) == 1
    full = tmp_path / "full.jsonl"
    full.symlink_to("/dev/full")
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        write_rows(full, PEOPLE)
