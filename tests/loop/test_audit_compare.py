"""Models side by side: recorded, resumed, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_models import write_chat_model

from custodes.audit.probes.political import Political
from custodes.cli import main
from custodes.errors import InputError
from custodes.ledger import Ledger
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.loading import load
from custodes.loop import probing as job
from custodes.loop.audit_compare import AuditCompare, audit_compare
from custodes.types import Sampling

QUESTIONS = ["Is tax good?", "Are parks good?", "Who should lead?", "What of trains?", "And rivers?", "And tea?"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files in the form that the probes read."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "political_typology").mkdir()
    for side, about in (("conservative", ("fish", "hunt")), ("liberal", ("paint", "read"))):
        rows = [
            {
                "prompt": f"I {who}. {q}\n (A) yes {i}\n (B) no {i}\n\nAnswer:",
                "corrects": [" (A)"],
                "incorrects": [" (B)"],
            }
            for i, q in enumerate(QUESTIONS)
            for who in about
        ]
        file = folder / "political_typology" / f"{side}_bio.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    lm = load(tiny_model, dtype="float32")
    lm.adapter = Adapter(lm.decoder, AdapterConfig(rank=2), 0)
    for p in lm.adapter.parameters():
        p.data.normal_(std=0.3)
    lm.adapter.refresh()
    lm.save(folder / "adapted")
    return {
        "base": str(tiny_model),
        "adapted": str(folder / "adapted"),
        "other": str(write_chat_model(folder / "qwen", "qwen3")),
    }


def config(models: dict[str, str], data: Path | None, out: Path, **more: Any) -> AuditCompare:
    named = tuple(f"{name}={model}" for name, model in models.items())
    sampling = Sampling(n=3, max_tokens=6)
    return AuditCompare(models=named, out=out, data=data, measure_on=6, sampling=sampling, dtype="float32", **more)


def without_run(out: Path) -> Any:
    return json.loads((out / "report.json").read_text())


def test_three_models_are_compared_and_everything_is_recorded(
    models: dict[str, str], data: Path, tmp_path: Path
) -> None:
    found = audit_compare(config(models, data, tmp_path / "out"))
    assert set(found.probes) >= {"diversity", "entropy", "political"}
    about = found.models
    assert about["adapted"].history.startswith(f"An adapter on {models['base']}.")
    assert "already tuned" in about["base"].history
    assert about["adapted"].kl is not None
    assert about["adapted"].kl.low > 0
    assert about["other"].kl is None
    assert "tokenizers differ" in about["other"].no_kl
    political = {figure.name: figure for figure in found.probes["political"].figures}["The biography's option"]
    assert set(political.models) == {"base", "adapted", "other"}  # letters are asked of any tokenizer
    assert political.models["base"].n == len(QUESTIONS)
    first = {f.name: f for f in found.probes["entropy"].figures}["Entropy of the first token"]
    assert set(first.differences) == {"adapted"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "An adapter on" in page
    assert "The biography" in page
    with Ledger.open(tmp_path / "out" / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        assert len(list(ledger.episodes(run.id))) == 3 * 6 * 3
        names = {(e.name, e.subject) for e in ledger.evaluations(run.id)}
        assert {("probe_found", "political"), ("compared_model", "other"), ("model_probed", "adapted")} <= names
    assert main(["verify", str(tmp_path / "out" / "ledger.db")]) == 0


def test_a_model_does_not_differ_from_itself(models: dict[str, str], data: Path, tmp_path: Path) -> None:
    same = {"one": models["base"], "again": models["base"]}
    found = audit_compare(config(same, data, tmp_path / "out"))
    assert found.models["again"].kl is not None
    assert found.models["again"].kl.estimate == pytest.approx(0, abs=1e-4)
    for probed in found.probes.values():
        for figure in probed.figures:
            for difference in figure.differences.values():
                assert difference.estimate == pytest.approx(0, abs=1e-6), figure.name


def test_an_interrupted_comparison_goes_on_to_the_same_report(
    models: dict[str, str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "CHUNK_ITEMS", 4)
    pair = {name: models[name] for name in ("base", "adapted")}
    straight = config(pair, data, tmp_path / "straight")
    audit_compare(straight)
    real, asked = Political.observe, []

    def observe(self: Political, engine: Any, items: Any, setting: Any) -> Any:
        asked.append(items)
        if len(asked) in (2, 9):
            raise KeyboardInterrupt
        return real(self, engine, items, setting)

    monkeypatch.setattr(Political, "observe", observe)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            audit_compare(config(pair, data, tmp_path / "cut"))
    audit_compare(config(pair, data, tmp_path / "cut"))
    assert len(asked) == 12 + 2  # six chunks of two models, and two that were asked again
    assert without_run(tmp_path / "straight") == without_run(tmp_path / "cut")
    audit_compare(config(pair, data, tmp_path / "cut"))  # done: nothing is asked again
    assert len(asked) == 12 + 2


def test_the_command_line_says_what_differs_and_what_was_not_asked(
    models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "audit",
        "compare",
        "--models",
        f"base={models['base']}",
        f"tuned={models['adapted']}",
        "--measure-on",
        "4",
    ]
    words += ["--n", "2", "--max-tokens", "4"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "differences that the probes' summary tells of" in printed
    assert "Not asked: stereotypes. No file to read: give --crows-pairs or --bbq, or --data" in printed
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["models"]) == {"base", "tuned"}
    assert "stereotypes" in told["not_asked"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "a=X"], "--models names 1 model; give two or more"),
        (["--models", "a=X", "a=X"], "'a=X' comes twice"),
        (["--models", "a=X", "b="], "names no model"),
        (["--models", "a=X", "b=nowhere"], "no model 'nowhere'"),
        (["--models", "a=X", "b=X", "--probes", "polical"], "did you mean 'political'"),
        (["--models", "a=X", "b=X", "--probes", "stereotypes"], "probe stereotypes: no file to read"),
        (["--models", "a=X", "b=X", "--data", "nowhere"], "--data nowhere is no folder"),
        (["--models", "a=X", "b=X", "--temperature", "0.5"], "leave temperature out"),
        (["--models", "a=X", "b=X", "--items", "301"], "option items is 301; it must be from 2 to 300"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    words: list[str], said: str, models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.replace("X", models["base"]) for word in words]
    assert main(["audit", "compare", *given, "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err.replace(models["base"], "X")
    assert said in printed
    assert not (tmp_path / "out" / "report.html").exists()


def test_other_data_are_another_comparison(models: dict[str, str], data: Path, tmp_path: Path) -> None:
    pair = {name: models[name] for name in ("base", "adapted")}
    audit_compare(config(pair, data, tmp_path / "out", probes="political"))
    with pytest.raises(InputError, match="use the same options or another --out"):
        audit_compare(config(pair, data, tmp_path / "out", probes="political", items=6))
