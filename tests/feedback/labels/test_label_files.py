"""Tables of labels and comparisons in files, and the commands of the quality desk."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from custodes.cli import main
from custodes.feedback.labels import aggregate, beside_truths, fit_comparison_file, read_labels
from custodes.tables import read_rows
from custodes.types import InputError


def write(path: Path, rows: list[tuple[object, ...]]) -> Path:
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = [("task", "worker", "label")]
    for t in rng.permutation(60):
        for k in range(5):
            right = rng.random() < (0.9 if k else 0.1)
            rows.append((f"t{t}", f"w{k}", ["no", "yes"][(t % 2) ^ (not right)]))
    return write(tmp_path / "labels.csv", rows)


@pytest.fixture
def comparisons(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = [("worker", "left", "right", "label")]
    for n in range(800):
        i, j = rng.choice(8, 2, replace=False)
        wins = rng.random() < 1 / (1 + np.exp(-(1.0 if n % 5 else -1.0) * (i - j)))
        rows.append((f"w{n % 5}", f"i{i}", f"i{j}", "" if n % 50 == 7 else f"i{i if wins else j}"))
    return write(tmp_path / "comparisons.csv", rows)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("method", ["majority", "dawid-skene", "mace", "glad"])
def test_labels_come_out_as_task_label_probability(labels, tmp_path, method):
    out = tmp_path / "out.csv"
    assert main(["feedback", "labels", "--judgments", str(labels), "--aggregator", method, "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["task", "label", "probability"]
    assert [r["task"] for r in rows] == list(dict.fromkeys(r["task"] for r in csv.DictReader(labels.open())))
    right = sum(r["label"] == ["no", "yes"][int(r["task"][1:]) % 2] for r in rows)
    assert right >= 55
    assert all(0.5 <= float(r["probability"]) <= 1 for r in rows)


def test_the_inverter_comes_first_with_an_interval(labels, capsys):
    assert main(["feedback", "labels", "--judgments", str(labels), "--json"]) == 0
    first, *others = json.loads(capsys.readouterr().out)["annotators"]
    assert (first["annotator"], first["judgments"]) == ("w0", 60)
    assert first["reliability"]["high"] < 0.5 < min(o["reliability"]["low"] for o in others)
    assert main(["feedback", "labels", "--judgments", str(labels)]) == 0
    printed = capsys.readouterr().out
    assert "w0" in printed
    assert "95 % interval" in printed


def test_comparisons_give_annotators_and_items(comparisons, tmp_path, capsys):
    out = tmp_path / "items.csv"
    assert main(["feedback", "comparisons", "--judgments", str(comparisons), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["annotators"][0]["annotator"] == "w0"
    assert found["annotators"][0]["reliability"] < 0 < found["annotators"][1]["reliability"]
    assert [i["item"] for i in found["items"]] == [r["item"] for r in csv.DictReader(out.open())]
    assert [i["item"] for i in found["items"]] == [f"i{n}" for n in range(7, -1, -1)]
    assert main(["feedback", "comparisons", "--judgments", str(comparisons)]) == 0
    assert "95 % interval" in capsys.readouterr().out


def test_ties_are_read_as_ties(comparisons):
    assert (fit_comparison_file(comparisons).comparisons.strength == 0).sum() == 16


def test_numbers_stay_text_and_annotator_is_as_good_as_worker(tmp_path):
    table = read_labels(write(tmp_path / "l.csv", [("task", "annotator", "label"), ("007", "x", 1), ("7", "x", "01")]))
    assert (list(table.tasks), list(table.classes)) == (["007", "7"], ["01", "1"])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("task", "label"), ("a", "b")], "column 'worker' is missing; found task, label"),
        ([("task", "worker", "label")], "has a header and no rows"),
        ([("task", "worker", "label"), ("a", "b", "c"), ("a", "", "c")], "row 3, column 'worker': empty"),
    ],
)
def test_wrong_label_files_name_file_and_row(tmp_path, capsys, rows, says):
    path = write(tmp_path / "wrong.csv", rows)
    said = refused(capsys, "feedback", "labels", "--judgments", path, "--out", tmp_path / "out.csv")
    assert says in said
    assert str(path) in said
    assert not (tmp_path / "out.csv").exists()


def test_wrong_comparison_files_name_file_and_row(tmp_path, capsys):
    head = ("worker", "left", "right", "label")
    path = write(tmp_path / "wrong.csv", [head, ("w", "a", "b", "a"), ("w", "a", "b", "c")])
    assert "row 3, column 'label': 'c'; it should be 'a', 'b' or empty" in refused(
        capsys, "feedback", "comparisons", "--judgments", path
    )
    path = write(tmp_path / "wrong.csv", [head, ("w", "a", "a", "a")])
    assert "row 2: 'a' is compared with itself" in refused(capsys, "feedback", "comparisons", "--judgments", path)


def test_missing_and_damaged_files(tmp_path, capsys):
    assert "does not exist" in refused(capsys, "feedback", "labels", "--judgments", tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    assert "is empty" in refused(capsys, "feedback", "labels", "--judgments", tmp_path / "empty.csv")
    (tmp_path / "bad.parquet").write_bytes(b"no")
    assert "is damaged or not what its name says" in refused(
        capsys, "feedback", "labels", "--judgments", tmp_path / "bad.parquet"
    )
    assert "unknown extension" in refused(capsys, "feedback", "labels", "--judgments", Path(__file__))


# ---------------------------------------------------------------- one reader for every table


SAID = [("t1", "w1", "yes"), ("t1", "w2", "yes"), ("t1", "w3", "no"), ("t2", "w1", "no"), ("t2", "w2", "no")]


def held(table) -> list[tuple[object, ...]]:
    rows = zip(table.task, table.annotator, table.label, strict=True)
    return [(table.tasks[t], table.annotators[k], table.classes[c]) for t, k, c in rows]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "head", "row", "end"),
    [
        ("l.csv", "Task, WORKER ,Label \n", "{0}, {1} ,{2} \n", ""),
        ("l.csv", "item_id;annotator_id;label\n", "{0};{1};{2}\n", "\n\n"),
        ("l.csv", '"task","worker","label"\r\n', '"{0}","{1}","{2}"\r\n', ""),
        ("l.tsv", "worker\tlabel\ttask\textra\n", "{1}\t{2}\t{0}\tx\n", ""),
        ("l.csv", "", "{0},{1},{2}\n", "\n"),
        ("l.jsonl", "", '{{"task": "{0}", "worker": "{1}", "label": "{2}"}}\n', "\n"),
        ("l.json", "", '{{"task": "{0}", "annotator": "{1}", "label": "{2}"}}\n', ""),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_labels_are_the_same_however_they_are_kept(tmp_path, name, head, row, end, encoding, packed):
    body = head + "".join(row.format(*r) for r in SAID) + end
    data = body.encode(encoding)
    pack = {"": bytes, ".gz": gzip.compress, ".zst": lambda d: pa.compress(d, "zstd", asbytes=True)}[packed]
    (tmp_path / f"{name}{packed}").write_bytes(pack(data))
    table = read_labels(tmp_path / f"{name}{packed}")
    assert held(table) == SAID
    assert ("has no header" in str(table.notes)) == (name == "l.csv" and not head)
    assert ("UTF-16" in str(table.notes)) == (encoding == "utf-16")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_numbers_texts_and_truths_are_one_class_each(tmp_path):
    rows = [
        {"task": 1, "worker": 7, "label": 1},
        {"task": 1.0, "worker": 8, "label": 1.0},
        {"task": "1", "worker": "9", "label": "1"},
    ]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert held(read_labels(tmp_path / "l.jsonl")) == [("1", "7", "1"), ("1", "8", "1"), ("1", "9", "1")]
    assert held(
        read_labels(write(tmp_path / "l.csv", [("task", "worker", "label"), (0, 0, "1.0"), (0, 1, 1), (0, 2, 2)]))
    ) == [
        ("0", "0", "1"),
        ("0", "1", "1"),
        ("0", "2", "2"),
    ]
    pq.write_table(pa.table({"task": [1, 1], "worker": ["a", "b"], "label": [True, False]}), tmp_path / "l.parquet")
    assert held(read_labels(tmp_path / "l.parquet")) == [("1", "a", "true"), ("1", "b", "false")]
    table = read_labels(
        write(tmp_path / "l.csv", [("task", "worker", "label"), ("v1.0", "a", "1.0"), ("v1", "a", "b1.0")])
    )
    assert (list(table.tasks), list(table.classes)) == (["v1.0", "v1"], ["1.0", "b1.0"])  # names, no numbers


def test_classes_that_differ_in_case_and_blanks_are_one_and_said(tmp_path):
    said = ["very good ", "Very Good", "very good", "very  good", "bad"]
    rows = [("task", "worker", "label"), *((f"t{n}", "w", label) for n, label in enumerate(said))]
    with pytest.warns(UserWarning, match="'Very Good' as 'very good'"):
        table = read_labels(write(tmp_path / "l.csv", rows))
    assert table.classes == ["bad", "very good"]
    assert any("read as one" in note for note in table.notes)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"task": [1, 2], "worker": [1, 2], "label": [[1], [2]]}, r"row 1, column 'label': \[1\] is not one value"),
        (
            {"task": ["1", "2", "3"], "worker": ["a", None, " "], "label": ["x", "y", "z"]},
            "row 2, column 'worker': empty and in 1 more",
        ),
        ({"item": ["1"], "rater": ["a"], "stars": ["x"]}, "column 'label' is missing; found task, worker, stars"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_label_is_refused(tmp_path, content, says):
    pq.write_table(pa.table(content), tmp_path / "l.parquet")
    with pytest.raises(InputError, match=says):
        read_labels(tmp_path / "l.parquet")


def test_a_row_with_too_many_fields_is_named(tmp_path):
    path = write(tmp_path / "l.csv", [("task", "worker", "label"), ("a", "b", "c"), ("a", "b", "c", "d")])
    with pytest.raises(InputError, match=r"l\.csv, row 3: more fields than the header"):
        read_labels(path)


def test_shards_of_labels_are_one_table_and_rows_are_named_in_theirs(tmp_path):
    for n in range(2):
        write(
            tmp_path / f"l-{n:05d}-of-00002.csv",
            [("task", "worker", "label"), (f"t{n}", "w", "x"), (f"t{n}", "v", "y" * n)],
        )
    with pytest.raises(InputError, match=r"l-00000-of-00002\.csv, row 3, column 'label': empty"):
        read_labels(tmp_path)


def test_comparisons_come_in_any_table_and_winners_by_side(tmp_path):
    write(
        tmp_path / "c.csv",
        [("worker", "model_a", "model_b", "winner"), ("w", "A", "B", "model_b"), ("w", "A", "C", "tie")],
    )
    with pytest.warns(UserWarning, match="'model_a' for left"):
        assert fit_comparison_file(tmp_path / "c.csv").comparisons.strength.tolist() == [-1, 0]
    (tmp_path / "c.jsonl").write_text(
        '{"worker": 1, "left": 1, "right": 2, "label": 1.0}\n{"worker": 1, "left": 1, "right": 2, "label": null}'
    )
    assert fit_comparison_file(tmp_path / "c.jsonl").comparisons.strength.tolist() == [1, 0]
    with pytest.raises(InputError, match="column 'label' is missing"):
        fit_comparison_file(write(tmp_path / "n.csv", [("worker", "left", "right"), ("w", "a", "b")]))


# ---------------------------------------------------------------- what the commands say


def run_json(capsys, *arguments: object) -> dict:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_known_truths_stand_beside_what_is_stated(labels, tmp_path, capsys):
    truths = [("task", "label"), *((f"t{t}", ["NO", "yes "][t % 2]) for t in range(40)), ("t999", "no")]
    arguments = ["--judgments", labels, "--truth", write(tmp_path / "t.csv", truths)]
    told = run_json(capsys, "feedback", "labels", *arguments, "--out", tmp_path / "o.csv")
    assert told["truth"]["right"]["n"] == 40
    assert told["truth"]["right"]["estimate"] > 0.9
    assert 0.5 < told["truth"]["stated"] <= 1
    assert told["truth"]["vote"]["n"] == 40
    assert "1 of 41 known truths are of tasks that nobody labelled." in told["notes"]
    told = run_json(capsys, "feedback", "labels", *arguments)
    assert told["annotators"][0]["annotator"] == "w0"
    assert told["annotators"][0]["right"]["estimate"] < 0.3 < told["annotators"][1]["right"]["low"]
    assert main(["feedback", "labels", *map(str, arguments)]) == 0
    printed = capsys.readouterr().out
    assert "right of known" in printed
    assert "Labels whose truth is known: right in" in printed
    with pytest.raises(InputError, match="none of the known truths"):
        beside_truths(aggregate(read_labels(labels)), {"x": "no"})


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_agreement_and_its_caveat_are_printed(labels, tmp_path, capsys):
    out = tmp_path / "o.csv"
    told = run_json(capsys, "feedback", "labels", "--judgments", labels, "--out", out)
    pairs = told["agreement"]["pairs"]
    assert len(pairs) == told["agreement"]["all_pairs"] == 10
    assert all((p["ac1"]["estimate"] < 0) == ("w0" in p["annotators"]) for p in pairs)
    assert (
        told["agreement"]["alpha"]["low"] < told["agreement"]["alpha"]["estimate"] < told["agreement"]["alpha"]["high"]
    )
    assert any("share errors" in note for note in told["notes"])
    assert main(["feedback", "labels", "--judgments", str(labels), "--out", str(out), "--pairs-shown", "3"]) == 0
    printed = capsys.readouterr().out
    assert "Krippendorff's alpha" in printed
    assert "Shown are the 3 of 10 pairs" in printed
    assert "share errors" in printed


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("extension", ["csv", "parquet", "tsv.gz"])
def test_all_probabilities_and_tables_of_mistakes_are_written(labels, tmp_path, extension):
    wide, tables = tmp_path / f"p.{extension}", tmp_path / f"c.{extension}"
    command = [
        "feedback",
        "labels",
        "--judgments",
        labels,
        "--out",
        tmp_path / "o.csv",
        "--probabilities",
        wide,
        "--confusion",
        tables,
    ]
    assert main(list(map(str, command))) == 0
    rows = [row.values for row in read_rows(wide)]
    assert len(rows) == 60
    assert all(float(row["no"]) + float(row["yes"]) == pytest.approx(1) for row in rows)
    inverted = [row.values for row in read_rows(tables) if row.values["annotator"] == "w0"]
    assert sum(float(row["count"]) for row in inverted) == pytest.approx(60)
    assert {(row["truth"], row["label"]) for row in inverted if float(row["share"]) > 0.5} == {
        ("no", "yes"),
        ("yes", "no"),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_told_is_said_in_one_line_each(tmp_path, capsys):
    rows = [("task", "worker", "label"), *((f"t{n}", f"w{n % 3}", ["no", "yes"][n % 2]) for n in range(30))]
    path = write(tmp_path / "l.csv", rows + rows[1:4])
    told = run_json(capsys, "feedback", "labels", "--judgments", path)
    assert any("Nothing overlaps" in note for note in told["notes"])
    assert any("3 of 33 rows repeat an annotator and a task" in note for note in told["notes"])
    assert told["annotators"][0]["reliability"] == {"estimate": None, "low": 0.0, "high": 1.0, "n": 0}
    assert main(["feedback", "labels", "--judgments", str(path)]) == 0
    assert "cannot be told" in capsys.readouterr().out


def test_an_aggregator_of_ones_own_is_named_by_its_file(labels, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from custodes.feedback.labels.rounds import EmRound\n"
        "from custodes.registry import aggregator\n\n\n"
        "@aggregator\n"
        "def sure(table):\n"
        "    yield EmRound((table.shares > 0.5).astype(float), {})\n"
    )
    given = ["feedback", "labels", "--judgments", labels, "--json", "--aggregator"]
    assert main(list(map(str, [*given, f"{tmp_path}/mine.py:sure"]))) == 0
    assert json.loads(capsys.readouterr().out)["stated"] == 1.0
    assert main(list(map(str, [*given, f"{tmp_path}/mine.py:surely"]))) == 2
    assert "has no 'surely'; write" in capsys.readouterr().err
