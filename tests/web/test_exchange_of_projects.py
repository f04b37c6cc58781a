"""From the server to files and back: training data, and the forms of other platforms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from web_server import PROJECT, Server

from custodes.cli import main
from custodes.feedback.formats import read_preferences
from custodes.feedback.items import items_from_rows
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.platform import platform_records, read_platform
from custodes.feedback.project import parse_project
from custodes.feedback.reading import read_feedback
from custodes.types import InputError
from custodes.web.database import MissingError
from custodes.web.export import export_project, read_project
from custodes.web.imports import import_file
from custodes.web.projects import create_project


@pytest.fixture
def judged(server: Server) -> Server:
    server.project(tasks=3)
    for name in ("ann", "bob"):
        person = server.person(name)
        while (item := person.call("POST", "/projects/helpfulness/next").json()["item"]) is not None:
            left = item["answers"][0][0]["content"].startswith("good")
            answers = [
                {"question": 1, "verdict": "prefer", "strength": 2 if left else -2},
                {"question": 2, "place": 0, "value": 6},
                {"question": 3, "place": 0, "choice": "yes"},
            ]
            path = f"/assignments/{item['assignment']}/judgments"
            assert person.call("POST", path, {"answers": answers, "seconds": 5.0}).status_code == 201
    return server


def said(judgments) -> set[tuple]:
    """Who found what better (texts, not ids)."""
    return {(j.annotator, j.strength > 0) for j in judgments if isinstance(j, Comparison)}


def test_training_data_has_a_row_per_judgment_and_soft_labels(judged: Server, tmp_path: Path):
    files = export_project(judged.database, "helpfulness", tmp_path)
    assert [f.name for f in files] == ["judgments.jsonl", "preferences.jsonl", "aggregated.jsonl"]
    each, together = read_preferences(files[1]), read_preferences(files[2])
    assert len(read_feedback(files[0]).feedback.judgments) == 18
    assert (len(each), len(together)) == (6, 3)
    assert len({pair.annotator for pair in each}) == 2
    assert all(pair.chosen[0].content.startswith("good") for pair in each + together)
    assert all(0.5 < pair.label < 1 for pair in together)
    assert all(0 <= pair.weight <= 1 for pair in together)  # six judgments hardly resolve anything


@pytest.mark.parametrize("file", ["judgments.jsonl", "preferences.jsonl", "aggregated.jsonl"])
def test_every_exported_file_trains_a_reward(judged: Server, tmp_path: Path, tiny_model: Path, file: str):
    export_project(judged.database, "helpfulness", tmp_path)
    words = ["reward", "train", "--judgments", tmp_path / file, "--out", tmp_path / "reward", "--model", tiny_model]
    assert main([str(word) for word in [*words, "--epochs", 1, "--rank", 2]]) == 0
    assert (tmp_path / "reward" / "training.json").exists()


def test_hugging_face_form_is_a_folder_with_a_card(judged: Server, tmp_path: Path):
    export_project(judged.database, "helpfulness", tmp_path, "huggingface")
    table = pq.read_table(tmp_path / "preferences.parquet")
    assert {"prompt", "chosen", "rejected", "annotator"} <= set(table.column_names)
    assert "config_name: aggregated" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    "form",
    ["argilla", "label-studio"],
)
def test_platform_forms_come_back_as_they_went(judged: Server, tmp_path: Path, form: str):
    content = read_project(judged.database, "helpfulness")
    (path,) = export_project(judged.database, "helpfulness", tmp_path, form)
    assert json.loads(path.read_text()) == json.loads(
        json.dumps(platform_records(form, content.judgments, content.episodes))
    )
    again = read_platform(path, form)
    compared = [j for j in again.judgments if isinstance(j, Comparison)]
    assert len(again.judgments) == 18
    assert len(compared) == 6
    for j in compared:
        first, second = (again.episodes[e].completion for e in j.episodes)
        assert (j.strength > 0) == first.startswith("good") != second.startswith("good")
        assert abs(j.strength) == 2
    assert {j.annotator for j in again.judgments} == {j.annotator for j in content.judgments}


def test_quarantined_gold_and_repeats_stay_out_of_training_data(judged: Server, tmp_path: Path):
    lead = judged.person("lead", "lead")
    (one, *_) = {j.annotator for j in read_project(judged.database, "helpfulness").judgments}
    assert lead.call("POST", "/projects/helpfulness/quarantine", {"account": one, "why": "test"}).status_code == 204
    files = export_project(judged.database, "helpfulness", tmp_path)
    assert {pair.annotator for pair in read_preferences(files[1])}.isdisjoint({one})
    assert len(read_project(judged.database, "helpfulness", with_quarantined=True).judgments) == 18


def test_imported_preferences_join_the_project_once(judged: Server, tmp_path: Path):
    rows = [{"prompt": f"Q{n}?", "chosen": "good", "rejected": "bad", "annotator": "zoe"} for n in range(4)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert import_file(judged.database, "helpfulness", tmp_path / "p.jsonl") == 4
    assert import_file(judged.database, "helpfulness", tmp_path / "p.jsonl") == 4
    rows[0]["prompt"] = "another"
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert import_file(judged.database, "helpfulness", tmp_path / "other.jsonl") == 4
    content = read_project(judged.database, "helpfulness")
    assert len([j for j in content.judgments if j.annotator == "zoe"]) == 8
    assert judged.database.ledger.verify().ok


def test_wrong_files_and_names_are_told(judged: Server, tmp_path: Path):
    with pytest.raises(MissingError, match="no project 'other'"):
        export_project(judged.database, "other", tmp_path)
    with pytest.raises(InputError, match="form 'csv' is unknown"):
        export_project(judged.database, "helpfulness", tmp_path, "csv")
    (tmp_path / "x.json").write_text('[{"data": {"text": "a"}}]')
    with pytest.raises(InputError, match="task 1: it needs prompt and answer1"):
        read_platform(tmp_path / "x.json", "label-studio")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="record 1: 'fields' is missing"):
        read_platform(tmp_path / "x.json", "argilla")


def test_commands_open_export_and_import(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(PROJECT)
    (tmp_path / "tasks.jsonl").write_text('{"prompt": "Q?", "answers": ["a", "b"]}\n')
    db = ["--db", str(tmp_path / "s.db")]
    assert main(["project", "open", "p.yaml", *db]) == 0
    assert main(["project", "open", "p.yaml", *db]) == 2
    assert "there is a project 'helpfulness' already" in capsys.readouterr().err
    assert main(["project", "export", "--project", "helpfulness", "--out", "out", *db]) == 2
    assert "has no judgments yet" in capsys.readouterr().err
    (tmp_path / "p.jsonl").write_text('{"prompt": "Q?", "chosen": "a", "rejected": "b"}\n')
    assert main(["project", "import", "p.jsonl", "--project", "helpfulness", *db]) == 0
    assert main(["project", "export", "--project", "helpfulness", "--out", "out", *db]) == 0
    assert (tmp_path / "out" / "preferences.jsonl").exists()
    assert main(["project", "export", "--project", "other", "--out", "out", *db]) == 2


# ---------------------------------------------------------------- out and in again

EVERY = PROJECT[: PROJECT.index("questions:")] + (
    "questions:\n"
    "- {kind: comparison}\n"
    "- {kind: rating, axis: overall, optional: true}\n"
    "- {kind: label, name: acceptable, optional: true, values: [{value: 'yes', title: Y}, {value: 'no', title: N}]}\n"
    "- {kind: comment, optional: true}\n"
    "- {kind: correction, optional: true}\n"
    "- {kind: span, optional: true, values: [{value: wrong, title: Wrong}]}\n"
    "- {kind: step, optional: true}\n"
    "- {kind: demonstration, optional: true}\n"
    "reasons: [clear, polite]\n"
)
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Human: or not?"},
    {"role": "assistant", "content": "What?"},
    {"role": "user", "content": "\n\nAssistant: say it"},
]


def everything(server: Server) -> None:
    """Judgments of every kind and every verdict, on prompts that a form's text alone does not hold."""
    rows = [{"prompt": CHAT if n % 2 else f"Q{n}?", "id": f"task-{n}", "answers": [f"good {n}.\r\nYes.", f"evil {n} 😀 x"],
             "models": ["a", "b"], "gold": {"better": 1} if n == 7 else {}} for n in range(6)]  # fmt: skip
    create_project(server.database, EVERY, items_from_rows(parse_project(EVERY), rows), "test")
    verdicts = [{"verdict": "tie"}, {"verdict": "both_bad"}, {"verdict": "cannot_judge"}]
    verdicts += [{"verdict": "prefer", "strength": strength} for strength in (-3, 1, 2)]
    for name in ("ann", "bob"):
        person = server.person(name)
        for verdict in verdicts:
            item = person.call("POST", "/projects/helpfulness/next").json()["item"]
            answers = [
                {"question": 1, **verdict},
                {"question": 2, "place": 1, "value": 6},
                {"question": 3, "place": 0, "choice": "no"},
                {"question": 4, "place": 1, "text": "it lies"},
                {"question": 5, "place": 1, "text": "better"},
                {"question": 6, "place": 0, "start": 0, "end": 4, "choice": "wrong", "severity": 3},
                {"question": 6, "place": 0, "start": 2, "end": 6, "choice": "wrong"},
                {"question": 7, "place": 1, "step": 0, "value": -1},
                {"question": 8, "text": "my own"},
            ]
            body = {"answers": answers, "seconds": 5.0, "reasons": ["clear"]}
            path = f"/assignments/{item['assignment']}/judgments"
            assert person.call("POST", path, body).status_code == 201


def held(server: Server) -> dict[str, Any]:
    return {j.id: j for j in read_project(server.database, "helpfulness").judgments}


@pytest.mark.parametrize("form", ["argilla", "label-studio", "trl"])
def test_an_export_that_is_imported_is_the_same_judgments_once(server: Server, tmp_path: Path, form: str):
    everything(server)
    before = held(server)
    assert len(before) == 2 * 6 * 10
    (path, *_) = export_project(server.database, "helpfulness", tmp_path / "out", form)
    kind = "judgments" if form == "trl" else form
    assert import_file(server.database, "helpfulness", path, kind) == len(before)
    assert held(server) == before
    fresh = Server(str(tmp_path / "fresh.db"))
    fresh.project(PROJECT)
    for _ in range(2):
        assert import_file(fresh.database, "helpfulness", path, kind) == len(before)
        assert held(fresh) == before
    texts = {e.id: e.messages for e in read_project(server.database, "helpfulness").episodes.values()}
    assert (
        texts.items()
        <= {e.id: e.messages for e in read_project(fresh.database, "helpfulness").episodes.values()}.items()
    )
    assert fresh.database.ledger.verify().ok
    fresh.database.close()


def test_other_forms_of_one_export_add_nothing(server: Server, tmp_path: Path):
    everything(server)
    before = held(server)
    forms = {"argilla": "argilla", "label-studio": "label-studio", "trl": "judgments"}
    fresh = Server(str(tmp_path / "fresh.db"))
    fresh.project(PROJECT)
    for form, kind in forms.items():
        (path, *more) = export_project(server.database, "helpfulness", tmp_path / form, form)
        import_file(fresh.database, "helpfulness", path, kind)
        assert held(fresh) == before
    import_file(server.database, "helpfulness", more[0], "preferences")  # preferences.jsonl, a row per judgment
    assert held(server) == before
    fresh.database.close()


@pytest.mark.parametrize("form", ["argilla", "label-studio"])
def test_an_answer_that_was_changed_on_the_platform_is_another_one(judged: Server, tmp_path: Path, form: str):
    (path,) = export_project(judged.database, "helpfulness", tmp_path, form)
    text = path.read_text()
    before = held(judged)
    rows = json.loads(text)
    if form == "argilla":
        response = next(r["responses"]["preference"][0] for r in rows if "preference" in r["responses"])
        response["value"] = {"response1": "response2", "response2": "response1"}[response["value"]]
    else:
        result = next(x for r in rows for a in r["annotations"] for x in a["result"] if x["type"] == "pairwise")
        result["value"]["selected"] = {"left": "right", "right": "left"}[result["value"]["selected"]]
    path.write_text(json.dumps(rows))
    import_file(judged.database, "helpfulness", path, form)
    after = held(judged)
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()
