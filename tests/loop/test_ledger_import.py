"""Logs that Inspect itself wrote, with its mock model, become runs of a ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, Scorer, Target, includes, mean, scorer
from inspect_ai.solver import TaskState, generate

from custodes.audit import audit_run
from custodes.cli import main
from custodes.ledger import Ledger
from custodes.ledger.checking import check_ledger

SAMPLES = [
    Sample("Capital of France?", target="Paris", id="fr", metadata={"region": "west"}),
    Sample([ChatMessageUser(content="Capital of Peru?")], target="Lima", id="pe"),
    Sample("Break", target="x", id="odd\nid"),
]


@scorer(metrics={"length": [mean()], "polite": [mean()]})
def manners() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        if state.input_text == "Break":
            raise ValueError("no manners")
        return Score(value={"length": len(state.output.completion), "polite": "please" in state.output.completion})

    return score


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two logs: of three samples in two epochs, the third of which fails; and a JSON log of one."""
    folder = tmp_path_factory.mktemp("logs")

    def run(samples: list[Sample], form: Any, **options: Any) -> None:
        answers = [ModelOutput.from_content("mockllm/model", f"Paris, please {i}") for i in range(12)]
        for answer in answers:
            answer.usage = ModelUsage(input_tokens=7, output_tokens=3)  # else Inspect fetches a tokenizer
        task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=[includes(), manners()], name="capitals")
        model = get_model("mockllm/model", custom_outputs=answers)
        eval(task, model=model, log_dir=str(folder), log_format=form, display="none", **options)

    run(SAMPLES, "eval", epochs=2, fail_on_error=False)
    run(SAMPLES[:1], "json")
    return folder


def test_samples_scores_and_metrics_are_taken_over(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "import", str(logs), "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(told["runs"]) == 2
    assert any("6 samples of" in note and "2 ended with an error" in note for note in told["notes"])
    (packed,) = (run for log, run in told["runs"].items() if log.endswith(".eval"))
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        run = next(r for r in ledger.runs() if r.id == packed)
        tasks = {t.id: t for t in ledger.tasks(packed)}
        episodes = {e.id: e for e in ledger.episodes(packed)}
        scores = {(s.episode, s.scorer): s.value for s in ledger.scores(packed)}
        results = {e.metrics["scorer"]: e.metrics["metrics"] for e in ledger.evaluations(packed, "inspect_result")}
        decisions = {d.what for d in ledger.decisions(packed)}
        report = audit_run(ledger, packed).to_json()
    assert (run.config["task"], run.config["model"], run.status) == ("capitals", "mockllm/model", "completed")
    assert run.config["packages"]["inspect_ai"]
    assert len(tasks) == 3
    assert tasks["fr"].metadata == {"target": "Paris", "choices": None, "region": "west"}
    assert episodes["fr, epoch 1"].cost["prompt_tokens"] == 7
    assert tasks["pe"].messages[0].content == "Capital of Peru?"
    assert len(episodes) == 6
    assert episodes["fr, epoch 2"].policy == "mockllm/model"
    assert episodes["fr, epoch 1"].completion.startswith("Paris, please")
    assert sorted(e.outcome for e in episodes.values()) == ["error"] * 2 + ["stop"] * 4
    for epoch in (1, 2):
        assert scores[f"fr, epoch {epoch}", "includes"] == 1.0
        assert scores[f"pe, epoch {epoch}", "includes"] == 0.0
        assert scores[f"fr, epoch {epoch}", "manners/polite"] == 1.0
        assert scores[f"fr, epoch {epoch}", "manners/length"] == len(episodes[f"fr, epoch {epoch}"].completion)
    assert results["includes"]["accuracy"] == pytest.approx(1 / 3)  # Inspect counts the sample that failed later
    assert {"imported", "not recorded"} <= decisions
    assert report["missing"]
    assert "explanations of scores" in json.dumps(report["loop"])
    page = tmp_path / "report"
    assert main(["audit", "report", str(tmp_path / "ledger.db"), "--run", packed, "--out", str(page)]) == 0
    assert "capitals" in (page / "report.html").read_text()


def test_the_log_is_an_input_and_an_import_is_done_once(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import custodes.loop.ledger_import as module

    copy = tmp_path / "logs"
    copy.mkdir()
    for log in logs.iterdir():
        (copy / log.name).write_bytes(log.read_bytes())
    whole = module._samples

    def killed(path: Path) -> Any:
        yield next(iter(whole(path)))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_samples", killed)
    call = ["ledger", "import", str(copy), "--out", str(tmp_path)]
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        raise SystemExit(main(call))
    monkeypatch.setattr(module, "_samples", whole)
    assert main(call) == 0
    assert main(call) == 0
    assert capsys.readouterr().out.count("is in the ledger already") == 2
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert sorted(len(list(ledger.episodes(r.id))) for r in ledger.runs()) == [1, 6]
        assert ledger.verify().ok
    assert main(["verify", str(tmp_path / "ledger.db")]) == 0
    next(copy.glob("*.json")).write_text("{}")
    found = check_ledger(tmp_path / "ledger.db")
    assert any(".json was edited" in note for note in (*found.notes, *found.problems))
    assert main(["audit", "logs", str(tmp_path / "ledger.db"), "--out", str(tmp_path / "watched")]) == 2
    assert "holds no run of another trainer" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", '{"a": 1}', "hello"])
def test_what_is_no_log_is_named_and_nothing_is_made(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.json").write_text(content)
    out = tmp_path / "out"
    assert main(["ledger", "import", str(tmp_path / "other.json"), "--out", str(out)]) == 2
    assert "other.json is no log that Inspect wrote" in capsys.readouterr().err
    assert main(["ledger", "import", str(tmp_path / "none.eval"), "--out", str(out)]) == 2
    assert not out.exists()
