"""Tables of labels and comparisons in files, and the commands of the quality desk."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from custodes.cli import main
from custodes.feedback.labels import fit_comparison_file, read_labels


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
    assert main(["quality", "labels", str(labels), "--method", method, "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["task", "label", "probability"]
    assert [r["task"] for r in rows] == list(dict.fromkeys(r["task"] for r in csv.DictReader(labels.open())))
    right = sum(r["label"] == ["no", "yes"][int(r["task"][1:]) % 2] for r in rows)
    assert right >= 55
    assert all(0.5 <= float(r["probability"]) <= 1 for r in rows)


def test_the_inverter_comes_first_with_an_interval(labels, capsys):
    assert main(["quality", "annotators", str(labels), "--json"]) == 0
    first, *others = json.loads(capsys.readouterr().out)["annotators"]
    assert (first["annotator"], first["judgments"]) == ("w0", 60)
    assert first["reliability"]["high"] < 0.5 < min(o["reliability"]["low"] for o in others)
    assert main(["quality", "annotators", str(labels)]) == 0
    printed = capsys.readouterr().out
    assert "w0" in printed
    assert "95 % interval" in printed


def test_comparisons_give_annotators_and_items(comparisons, tmp_path, capsys):
    out = tmp_path / "items.csv"
    assert main(["quality", "comparisons", str(comparisons), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["annotators"][0]["annotator"] == "w0"
    assert found["annotators"][0]["reliability"] < 0 < found["annotators"][1]["reliability"]
    assert [i["item"] for i in found["items"]] == [r["item"] for r in csv.DictReader(out.open())]
    assert [i["item"] for i in found["items"]] == [f"i{n}" for n in range(7, -1, -1)]
    assert main(["quality", "comparisons", str(comparisons)]) == 0
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
    said = refused(capsys, "quality", "labels", path, "--out", tmp_path / "out.csv")
    assert says in said
    assert str(path) in said
    assert not (tmp_path / "out.csv").exists()


def test_wrong_comparison_files_name_file_and_row(tmp_path, capsys):
    head = ("worker", "left", "right", "label")
    path = write(tmp_path / "wrong.csv", [head, ("w", "a", "b", "a"), ("w", "a", "b", "c")])
    assert "row 3, column 'label': 'c'; it should be 'a', 'b' or empty" in refused(
        capsys, "quality", "comparisons", path
    )
    path = write(tmp_path / "wrong.csv", [head, ("w", "a", "a", "a")])
    assert "row 2: 'a' is compared with itself" in refused(capsys, "quality", "comparisons", path)


def test_missing_and_damaged_files(tmp_path, capsys):
    assert "does not exist" in refused(capsys, "quality", "annotators", tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    assert "is empty" in refused(capsys, "quality", "annotators", tmp_path / "empty.csv")
    (tmp_path / "bad.parquet").write_bytes(b"no")
    assert "is damaged or not what its name says" in refused(capsys, "quality", "annotators", tmp_path / "bad.parquet")
    assert "unknown extension" in refused(capsys, "quality", "annotators", Path(__file__))
