"""Files as Argilla (2, ``records.to_json``) and Label Studio (JSON export) write them, made after their documentation."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from custodes.feedback.platforms import read_platform, to_argilla, to_label_studio
from custodes.types import Comparison, InputError, Label, Rating

SAMPLES = Path(__file__).parent / "platform_samples"


def test_label_studios_export_by_its_own_names():
    found = read_platform(SAMPLES / "label_studio.json", "label-studio")
    compared = [j for j in found.judgments if isinstance(j, Comparison)]
    assert [(j.annotator, j.strength, j.seconds) for j in compared] == [("3", 1, 12.4), ("bob@example.org", -1, 3.1)]
    first, second = (found.episodes[e].completion for e in compared[0].episodes)
    assert (first, second) == ("4", "5")
    assert [(j.annotator, j.value) for j in found.judgments if isinstance(j, Rating)] == [("3", 6)]
    assert [(j.name, j.value) for j in found.judgments if isinstance(j, Label)] == [("tone", "warm")]
    assert "7" not in found.annotators  # who skipped said nothing


def test_argillas_records_with_rankings_and_labels():
    found = read_platform(SAMPLES / "argilla.json", "argilla")
    compared = [j for j in found.judgments if isinstance(j, Comparison)]
    assert [(j.verdict, j.strength) for j in compared] == [("prefer", 1), ("tie", 0), ("prefer", 1), ("prefer", -1)]
    assert [(j.name, j.value) for j in found.judgments if isinstance(j, Label)] == [("tone", "plain")]
    assert len(found.annotators) == 2


def test_what_we_write_is_what_they_read():
    found = read_platform(SAMPLES / "label_studio.json", "label-studio")
    for record in to_argilla(found.judgments, found.episodes):
        assert record.keys() == {"id", "fields", "metadata", "suggestions", "responses", "vectors", "status"}
        for responses in record["responses"].values():
            for response in responses:  # rg.Response(question_name=..., **response)
                assert response.keys() == {"value", "user_id"}
                assert str(uuid.UUID(response["user_id"])) == response["user_id"]
        assert all(isinstance(value, str) for value in record["metadata"].values())
    for task in to_label_studio(found.judgments, found.episodes):
        assert {"data", "annotations"} <= task.keys()
        for annotation in task["annotations"]:
            for result in annotation["result"]:
                assert {"from_name", "to_name", "type", "value"} <= result.keys()
                assert result["value"].keys() <= {"selected", "rating", "choices"}


def test_our_annotators_come_back_from_argilla_by_name(tmp_path: Path):
    found = read_platform(SAMPLES / "label_studio.json", "label-studio")
    (tmp_path / "records.json").write_text(json.dumps(to_argilla(found.judgments, found.episodes)))
    again = read_platform(tmp_path / "records.json", "argilla")
    assert {j.annotator for j in again.judgments} == {j.annotator for j in found.judgments}


def test_rankings_of_three_are_no_comparison(tmp_path: Path):
    records = json.loads((SAMPLES / "argilla.json").read_text())
    records[0]["responses"]["which"][0]["value"].append({"value": "response3", "rank": 3})
    (tmp_path / "r.json").write_text(json.dumps(records))
    assert len([j for j in read_platform(tmp_path / "r.json", "argilla").judgments if isinstance(j, Comparison)]) == 3
    records[0]["responses"]["which"] = 3
    (tmp_path / "r.json").write_text(json.dumps(records))
    with pytest.raises(InputError, match="not what argilla writes"):
        read_platform(tmp_path / "r.json", "argilla")
