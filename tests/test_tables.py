"""Tables: what can be read and written, and one clear sentence for what cannot."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custodes.tables import EXTENSIONS, read_rows, write_rows
from custodes.types import InputError

GOOD = {"prompt": "q", "chosen": "a", "rejected": "b"}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries({"text": texts, "n": st.integers(-9, 9)}, optional={"x": st.floats(0, 1)}), min_size=1
    )
)
def test_rows_come_back(tmp_path: Path, rows: list[dict]) -> None:
    for extension in EXTENSIONS:
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
        ("rows.csv", b"a,b", "unknown extension; give a .jsonl"),
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
