"""A bundle is checked alone: what is missing or changed is named, and what is withheld is told with its digest."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.feedback.kinds.comment import Comment
from custodes.job.recording import Recording
from custodes.ledger import Ledger
from custodes.ledger.heads import make_key

WORDS = "my cousin has blue hair"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The ledger of a run that read and wrote files, weights among them."""
    folder = tmp_path / "run"
    (folder / "policy").mkdir(parents=True)
    (tmp_path / "elsewhere.csv").write_text("a,b\n1,2\n")
    (folder / "answers.jsonl").write_text(json.dumps({"text": WORDS}) + "\n")
    (folder / "policy" / "model.safetensors").write_bytes(b"weights" * 100)
    with Ledger.open(folder / "ledger.db") as ledger:
        run = ledger.start_run("test", {}, seed=0)
        recording = Recording(ledger, run)
        from custodes.digests import blocks_of

        recording.keep_inputs({tmp_path / "elsewhere.csv": blocks_of(tmp_path / "elsewhere.csv")})
        recording.keep(folder / "answers.jsonl", folder / "policy")
        ledger.write(run, [Comment(id="c1", annotator="ann", task="t", episodes=("e",), text=WORDS)])
        ledger.end_run(run)
    return folder / "ledger.db"


def checked(bundle: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, list[str]]]:
    capsys.readouterr()
    code = main(["verify", str(bundle), *more, "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("name", ["b.zip", "b"])
def test_a_bundle_stands_alone(
    source: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTODES_LEDGER_KEY", str(tmp_path / "key"))
    public = make_key(tmp_path / "key")
    heads = ["--head-file", str(tmp_path / "heads.jsonl")]
    assert main(["ledger", "sign", str(source), *heads]) == 0
    bundle = tmp_path / name
    assert main(["audit", "bundle", str(source), "--out", str(bundle), "--no-weights"]) == 0
    shutil.rmtree(source.parent)
    (tmp_path / "elsewhere.csv").unlink()
    code, found = checked(bundle, capsys, *heads, "--public-key", str(public))
    assert (code, found["problems"]) == (0, [])
    (weights,) = [note for note in found["notes"] if "withheld" in note]
    assert weights.startswith("policy/model.safetensors: withheld: weights, 700 bytes, SHA-256 ")
    assert "is signed" not in weights
    if bundle.is_dir():
        assert {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()} == {
            "bundle.json",
            "ledger.db",
            "files/answers.jsonl",
            "files/elsewhere/0-elsewhere.csv",
            "report/report.html",
            "report/report.json",
        }
    assert main(["audit", "bundle", str(tmp_path / "no.db"), "--out", str(tmp_path / "c")]) == 2
    assert not (tmp_path / "c").exists()


def unpacked(source: Path, *more: str) -> Path:
    bundle = source.parent.parent / "bundle"
    assert main(["audit", "bundle", str(source), "--out", str(bundle), *more]) in (0, 1)
    return bundle


def without_file(bundle: Path) -> None:
    (bundle / "files/answers.jsonl").unlink()


def edited_file(bundle: Path) -> None:
    (bundle / "files/policy/model.safetensors").write_bytes(b"Weights" * 100)


def edited_report(bundle: Path) -> None:
    (bundle / "report/report.html").write_text("<html>all is well</html>")


def without_report(bundle: Path) -> None:
    (bundle / "report/report.json").unlink()


def forgotten_file(bundle: Path) -> None:
    told = json.loads((bundle / "bundle.json").read_text())
    del told["files"]["answers.jsonl"]
    (bundle / "bundle.json").write_text(json.dumps(told))
    without_file(bundle)


def another_head(bundle: Path) -> None:
    told = json.loads((bundle / "bundle.json").read_text())
    told["head"]["root"] = "0" * 64
    (bundle / "bundle.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_file, "answers.jsonl is missing from the bundle; row 3 of the ledger recorded it."),
        (edited_file, "files/policy/model.safetensors was edited since"),
        (edited_report, "report/report.html was edited since the bundle was made."),
        (without_report, "report/report.json is missing from the bundle."),
        (forgotten_file, "answers.jsonl is missing from the bundle"),
        (another_head, "bundle.json says another head"),
    ],
)
def test_what_is_missing_or_changed_is_named(
    source: Path, change: Callable[[Path], None], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = unpacked(source)
    assert checked(bundle, capsys)[0] == 0
    change(bundle)
    code, found = checked(bundle, capsys)
    assert code == 1
    assert [problem for problem in found["problems"] if problem.startswith(said)], found


def test_a_withheld_text_is_nowhere_in_the_bundle(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaking = unpacked(source, "--withhold", "judgment.text")
    assert "files/answers.jsonl still holds a text" in capsys.readouterr().out
    shutil.rmtree(leaking)
    bundle = unpacked(source, "--withhold", "judgment.text", "--withhold-file", "*.jsonl")
    assert not [p for p in bundle.rglob("*") if p.is_file() and b"cousin" in p.read_bytes()]
    code, found = checked(bundle, capsys)
    assert code == 0
    assert any(note.startswith("answers.jsonl: withheld, ") for note in found["notes"])
    assert "This copy withholds fields of 1 rows; their digests are there." in found["notes"]
    told = json.loads((bundle / "bundle.json").read_text())
    told["withheld"] = {}
    (bundle / "bundle.json").write_text(json.dumps(told))
    assert "lacks text: no row of the ledger says who withdrew it" in checked(bundle, capsys)[1]["problems"][0]
    for wrong in ("judgment", "judgment.words", "run.config"):
        out = ["--out", str(source.parent.parent / "other")]
        assert main(["audit", "bundle", str(source), *out, "--withhold", wrong]) == 2
    assert not (source.parent.parent / "other").exists()


def test_what_is_there_is_not_overwritten_and_what_is_broken_not_unpacked(source: Path, tmp_path: Path) -> None:
    bundle = unpacked(source)
    assert main(["audit", "bundle", str(source), "--out", str(bundle)]) == 2
    (bundle / "bundle.json").write_text("{}")
    assert main(["verify", str(bundle)]) == 2
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    assert main(["verify", str(tmp_path / "b.zip")]) == 2
