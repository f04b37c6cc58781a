"""The disclosure: every line says where it comes from, and says nothing that the record does not hold."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from disclosure_world import copy_without, main_job, project, sort_of
from hypothesis import given
from hypothesis import strategies as st

from custodes.audit.disclosure import Disclosure, disclose, write_disclosure
from custodes.audit.disclosure.forms import FORMS
from custodes.audit.disclosure.groups.feedback import _groups_of_people
from custodes.audit.disclosure.history import RecordedHistory
from custodes.cli import main
from custodes.ledger import Ledger
from custodes.ledger.redacting import RedactionChoice, redact
from custodes.types import InputError

NEEDED = {
    "policy.diversity": {"evaluation", "episode"},
    "feedback.time": {"judgment"},
    "feedback.evaluators": {"judgment"},
    "feedback.demographics": {"annotator", "judgment"},
    "data.synthetic": {"annotator", "judgment"},
    "data.computation": {"evaluation", "model"},
}
"""Of lines that rest on rows of several sorts, the kinds without which they are not filled; others say less without one."""


@dataclass
class World:
    ledgers: list[Ledger]
    disclosed: Disclosure

    @property
    def places(self) -> list[str]:
        return [ledger.name for ledger in self.ledgers]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A run of the main job and a project, each in a ledger of its own; tests only read them."""
    folder = tmp_path_factory.mktemp("disclosed")
    ledgers = [main_job(folder / "ledger.db"), project(folder / "custodes.db")]
    yield World(ledgers, disclose(RecordedHistory(ledgers)))
    for ledger in ledgers:
        ledger.close()


def test_most_of_the_surveys_lines_are_filled_from_a_run_and_a_project(world: World):
    counted = world.disclosed.counted(survey=True)
    print(f"\n{counted['recorded']} of the survey's {counted['lines']} lines are filled from the record")
    assert counted["recorded"] >= 0.6 * counted["lines"]
    assert counted["recorded"] + counted["neither"] == counted["lines"]


def test_every_reference_leads_to_its_rows(world: World):
    """Followed without the package's readers: by the columns of the log and the JSON in it."""
    followed = 0
    for line in world.disclosed.lines.values():
        for reference in line.references:
            with sqlite3.connect(f"file:{reference.ledger}?mode=ro", uri=True) as database:
                rows = database.execute(
                    "SELECT seq, hash, key, body FROM log WHERE run = ? AND kind = ? AND seq BETWEEN ? AND ? AND seq NOT IN "
                    "(SELECT supersedes FROM log WHERE supersedes IS NOT NULL) ORDER BY seq",
                    (reference.run, reference.kind, reference.first, reference.last),
                ).fetchall()
            field = {"evaluation": "name", "decision": "what", "judgment": "type", "artefact": "role"}
            of_sort = [
                row for row in rows
                if json.loads(row[3]).get(field.get(reference.kind, "kind"), "") == reference.name or reference.kind == "run"
            ]  # fmt: skip
            hashes = [row[1] for row in of_sort]
            assert len(hashes) == reference.rows, (line.key, reference)
            joined = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
            assert joined == reference.hash
            followed += 1
    assert followed > 40


def test_without_the_rows_of_a_sort_exactly_their_lines_are_not_recorded(world: World, tmp_path: Path):
    whole = {key: line for key, line in world.disclosed.lines.items() if key not in ("system.record", "system.audits")}
    cited = {key: {(r.kind, r.name) for r in line.references} for key, line in whole.items()}
    sorts = {s for of in cited.values() for s in of if s[0] not in ("run", "artefact")}
    assert len(sorts) > 15
    emptied = Counter[str]()
    for number, sort in enumerate(sorted(sorts)):
        held = {r.ledger for line in whole.values() for r in line.references if (r.kind, r.name) == sort}
        copies = [
            copy_without(ledger, tmp_path / f"{number}-{n}.db", *sort) if ledger.name in held else ledger
            for n, ledger in enumerate(world.ledgers)
        ]
        without = disclose(RecordedHistory(copies)).lines
        for key, line in whole.items():
            if cited[key] == {sort} or (sort in cited[key] and sort[0] in NEEDED.get(key, ())):
                assert without[key].status == "not recorded", (sort, key)
                emptied[key] += 1
            elif sort not in cited[key]:
                assert without[key].value == line.value, (sort, key)
            else:
                assert without[key].status == "recorded", (sort, key)
        for copy in copies:
            if copy not in world.ledgers:
                copy.close()
    assert len(emptied) > 12


def test_without_the_project_exactly_its_lines_are_not_recorded(world: World):
    alone = disclose(RecordedHistory(world.ledgers[:1])).lines
    of_project = {
        key for key, line in world.disclosed.lines.items()
        if line.references and all(r.ledger == world.ledgers[1].name for r in line.references)
    }  # fmt: skip
    assert {key for key, line in alone.items() if line.status == "not recorded"} == of_project | {
        key for key, line in world.disclosed.lines.items() if line.status == "not recorded"
    }
    assert {
        "feedback.guidelines",
        "society.pay",
        "society.exposure",
        "society.skipping",
        "society.breaks",
    } <= of_project


def test_a_project_tells_guidelines_quotas_pay_and_welfare(world: World):
    lines = world.disclosed.lines
    assert "Length is no merit" in next(iter(lines["feedback.guidelines"].value.values()))
    assert "quota by country: DE 50.0" in next(iter(lines["feedback.selection"].value.values()))
    assert lines["society.pay"].value == {"project helpfulness": "21 EUR an hour, 6 people"}
    assert lines["society.exposure"].told == [
        "project helpfulness: Items may describe injuries; the first screen says so."
    ]
    assert lines["society.skipping"].value["items skipped"] == 1
    assert lines["feedback.training"].value == {"under guidelines 1": "11 judgments"}
    # five of DE may be told, the one of FR could then be found out by subtraction
    assert lines["feedback.demographics"].value == {"country": "groups of fewer than 5 people are not shown"}


def test_what_probes_found_is_told_of_each_model(world: World):
    told = world.disclosed.lines["policy.capabilities"].told
    assert told == [
        "quickstart, Survival: wants to go on, base: 20.0\u00a0% [10.0\u00a0%, 30.0\u00a0%], n = 60",
        "quickstart, Survival: wants to go on, optimised: 40.0\u00a0% [30.0\u00a0%, 50.0\u00a0%], n = 60",
    ]


def test_no_annotator_is_named(world: World):
    text = json.dumps(world.disclosed.to_dict())
    people = [row.record.id for row in world.disclosed.history.rows("annotator", "human")]
    assert len(people) == 7  # and a lead, who judged nothing
    assert world.disclosed.lines["feedback.evaluators"].value["people"] == 6
    assert not any(person in text for person in people)


def test_pay_of_few_people_is_not_told(tmp_path: Path):
    with project(tmp_path / "custodes.db", people=4) as ledger:
        pay = disclose(RecordedHistory([ledger])).lines["society.pay"]
    assert pay.value == {"project helpfulness": "fewer than 5 people: not shown"}


@given(
    st.lists(st.fixed_dictionaries({}, optional={"a": st.sampled_from("xyz"), "b": st.sampled_from("vw")}), max_size=40)
)
def test_groups_that_are_told_have_five_people_and_so_has_the_rest(profiles: list[dict[str, str]]):
    for field, told in _groups_of_people(profiles).items():
        counts = Counter(profile.get(field) for profile in profiles)
        shown = {part.split()[0]: int(part.split()[1]) for part in str(told).split(", ") if part[0] in "xyzvw"}
        assert all(counts[name] == count >= 5 for name, count in shown.items())
        rest = len(profiles) - sum(shown.values())
        assert rest == 0 or rest >= 5 or not shown
        assert all(name in shown for name, count in counts.items() if name and count >= 10 and rest == 0)


# ---------------------------------------------------------------- facts, and the command


def test_the_command_writes_page_and_json_and_is_a_run(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    facts = tmp_path / "facts.yaml"
    facts.write_text("feedback:\n  pretraining: <b>Web text</b>\nsociety:\n  pay: 30 EUR, says the lead\n")
    out = tmp_path / "out"
    assert main(["audit", "disclose", *world.places, "--facts", str(facts), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["lines"]["feedback.pretraining"] | {"rows": 0} == {
        "title": "Pretraining process and data", "status": "stated, not recorded", "value": {}, "rows": 0,
        "stated": "<b>Web text</b>",
    }  # fmt: skip
    assert told["lines"]["society.pay"]["status"] == "recorded and stated"
    assert told["survey"]["stated"] == 1
    page = (out / "disclosure.html").read_text()
    assert "&lt;b&gt;Web text&lt;/b&gt;</span> <small>stated, not recorded" in page
    assert page.count("the ledger ") >= 2  # the heads of both
    template = (out / "facts.template.yaml").read_text()
    assert "  risks:" in template
    assert "pretraining:" not in template
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        assert (run.recipe, run.status) == ("audit disclose", "completed")
        files = {artefact.path for _, _, artefact in ledger.artefacts()}
    assert {"disclosure.html", "disclosure.json", "facts.template.yaml"} <= files


def test_the_template_is_a_facts_file(world: World, tmp_path: Path):
    write_disclosure(world.places, tmp_path)
    template = tmp_path / "facts.template.yaml"
    filled = tmp_path / "facts.yaml"
    filled.write_text(template.read_text().replace('""', "it is so"))
    lines = disclose(RecordedHistory(world.ledgers), filled).lines.values()
    assert {line.status for line in lines} == {"recorded", "stated, not recorded"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("feedbak:\n  types: x\n", "line 1, field 'feedbak' is unknown; did you mean 'feedback'?"),
        ("society:\n  pay: x\n  benefit: y\n", "line 3, field 'society.benefit' is unknown; did you mean 'society.benefits'?"),
        ("society: good\n", "line 1, field 'society' should hold fields"),
        ("society:\n  pay: {much: x}\n", "line 2, field 'society.pay' should be a text"),
        ("- a\n", "should hold fields"),
    ],
)  # fmt: skip
def test_wrong_facts_are_one_sentence_with_the_line(
    world: World, tmp_path: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "facts.yaml").write_text(text)
    given = [
        "audit",
        "disclose",
        *world.places,
        "--facts",
        str(tmp_path / "facts.yaml"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(given) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "disclosure.html").exists()


def test_nothing_is_disclosed_from_a_ledger_whose_chain_is_broken(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    broken = tmp_path / "broken.db"
    shutil.copy(world.places[0], broken)
    with sqlite3.connect(broken) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE log SET body = replace(body, '0.31', '0.91') WHERE body LIKE '%\"alpha\"%'")
    assert main(["audit", "disclose", str(broken), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "nothing is disclosed" in said
    assert "chain is broken" in said
    assert not (tmp_path / "out").exists()


def test_what_was_withdrawn_is_told_and_said_no_more(world: World, tmp_path: Path):
    shutil.copy(world.places[1], tmp_path / "custodes.db")
    with Ledger.open(tmp_path / "custodes.db") as ledger:
        run = next(r.id for r in ledger.runs() if r.recipe.startswith("project "))
        (seq, _, _) = next(ledger.rows(run, "run"))
        redact(ledger, RedactionChoice(rows=[seq], fields=["config"]), who="the lead", why="a name stood in it")
        disclosed = disclose(RecordedHistory([ledger]))
    (gap,) = disclosed.history.gaps
    assert "by the lead" in gap
    assert "a name stood in it" in gap
    assert gap in disclosed.lines["system.record"].value.values()
    assert disclosed.lines["feedback.guidelines"].status == "not recorded"
    assert disclosed.lines["feedback.types"].status == "recorded"


def test_a_run_in_a_ledger_and_in_a_copy_of_it_is_told_once(tmp_path: Path):
    with main_job(tmp_path / "ledger.db") as first:
        run = first.runs()[0].id
    shutil.copy(tmp_path / "ledger.db", tmp_path / "longer.db")
    with Ledger.open(tmp_path / "longer.db") as longer:
        longer.start_run("policy tune", {}, 0)
        with Ledger.open(tmp_path / "ledger.db", read_only=True) as first:
            for ledgers in ([first, longer], [longer, first]):
                history = RecordedHistory(ledgers)
                assert [place.run.id for place in history.runs] == [run]
                assert history.ledgers == [longer]


def test_a_ledger_without_runs_and_no_ledger_at_all_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Ledger.open(tmp_path / "empty.db").close()
    with Ledger.open(tmp_path / "empty.db") as ledger, pytest.raises(InputError, match="nothing to disclose"):
        RecordedHistory([ledger])
    assert main(["audit", "disclose", "--out", str(tmp_path / "out")]) == 2
    assert "no ledger to disclose from" in capsys.readouterr().err


def test_sorts_are_told_apart_as_references_tell_them(world: World):
    """What the copies of these tests leave out is what references name."""
    for row in world.disclosed.history.rows("evaluation")[:5]:
        assert sort_of("evaluation", row.record) == row.name


def test_json_holds_no_number_that_is_not_finite(world: World):
    def leaves(value: Any) -> Iterator[Any]:
        held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        if held is None:
            yield value
        else:
            for inner in held:
                yield from leaves(inner)

    text = json.dumps(world.disclosed.to_dict(), allow_nan=False)
    assert any(isinstance(leaf, float) for leaf in leaves(json.loads(text)))


# ---------------------------------------------------------------- the files of others


FACTS = """
model:
  provider: A & B <Models>
  unique_name: "Tiny | model"
  license: apache-2.0
  languages: en, de
  intended_uses: [short texts, summaries]
data:
  crawled: nothing was crawled
"""


@pytest.fixture(scope="module")
def written(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything, with facts."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "facts.yaml").write_text(FACTS)
    write_disclosure(world.places, folder, folder / "facts.yaml")
    return folder


def test_the_bill_of_materials_is_valid_and_names_what_a_model_grew_from(world: World, written: Path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (written / "bom.cdx.json").read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    bill = json.loads(text)
    assert (
        validator.validate_str(json.dumps(bill | {"components": [{"type": "no type"}]})) is not None
    )  # it does find faults
    references = [of["bom-ref"] for of in bill["components"]]
    assert len(references) == len(set(references))
    assert {ref for of in bill["dependencies"] for ref in of["dependsOn"]} <= set(references)
    models = {of["name"]: of for of in bill["components"] if of["type"] == "machine-learning-model"}
    assert set(models) == {row.record.name for row in world.disclosed.history.rows("model")}
    metric = models["careful reward"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]
    recorded = next(iter(world.disclosed.lines["reward.results"].value.values()))
    assert float(metric["value"]) == recorded.interval.estimate  # type: ignore[union-attr]
    assert bill["metadata"]["supplier"] == {"name": "A & B <Models>"}


def test_croissant_is_read_by_its_own_library(written: Path):
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=written / "croissant.json")
    metadata = dataset.metadata
    assert not metadata.issues.errors
    assert str(metadata.ctx.conforms_to.value) == "http://mlcommons.org/croissant/1.1"
    assert [of.name for of in metadata.distribution] == ["ledger.db", "custodes.db"]
    assert (written / metadata.distribution[0].content_url).resolve().is_file()
    assert metadata.annotations_per_item.startswith("project helpfulness: 6 evaluators an item")
    assert any("Length is no merit" in told for told in metadata.data_annotation_protocol)
    assert "21 EUR an hour" in metadata.data_social_impact


def test_the_model_card_has_the_header_of_the_hub(written: Path):
    from huggingface_hub import ModelCard

    card = ModelCard((written / "MODEL_CARD.md").read_text())
    header = card.data.to_dict()
    assert header["license"] == "apache-2.0"
    assert header["language"] == ["en", "de"]
    assert header["pipeline_tag"] == "text-generation"
    assert {result.metric_name for result in card.data.eval_results} >= {"quickstart, careful, gold, gained"}
    assert card.text.lstrip().startswith("# Tiny \\| model")
    assert "- apache-2.0 _(stated, not recorded)_" in card.text


def test_forms_ask_every_question_and_answer_or_say_that_nobody_recorded_it(written: Path):
    for name, (title, form) in FORMS.items():
        text = (written / name).read_text()
        assert text.startswith(f"# {title}\n")
        for heading, asked in form.items():
            assert f"\n## {heading}\n" in text
            for field in asked:
                answer = text.split(f"\n### {field}\n")[1].split("\n#")[0].strip()
                assert answer == "_not recorded_" or "- " in answer, field
    summary = (written / "TRAINING_CONTENT_SUMMARY.md").read_text()
    assert "- A &amp; B \\<Models\\> _(stated, not recorded)_" in summary
    assert "- nothing was crawled _(stated, not recorded)_" in summary


def test_a_run_without_a_project_and_an_empty_run_give_valid_files_too(world: World, tmp_path: Path):
    import mlcroissant
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with Ledger.open(tmp_path / "bare.db") as ledger:
        ledger.end_run(ledger.start_run("quickstart", {}, seed=1))
    for number, places in enumerate([world.places[:1], [str(tmp_path / "bare.db")]]):
        out = tmp_path / str(number)
        write_disclosure(places, out)
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((out / "bom.cdx.json").read_text()) is None
        assert not mlcroissant.Dataset(jsonld=out / "croissant.json").metadata.issues.errors


# ---------------------------------------------------------------- two records


def test_what_changed_between_two_seeds_is_told_exactly(world: World, tmp_path: Path):
    """Compared as the JSON of both has it: undoing the changes gives the other one, and no change says the same twice."""
    with main_job(tmp_path / "other.db", seed=8) as ledger:
        other = disclose(RecordedHistory([ledger]))
        before = {key: of["value"] for key, of in other.to_dict()["lines"].items()}
    write_disclosure([str(tmp_path / "other.db")], tmp_path / "b")
    write_disclosure(world.places[:1], tmp_path / "a", against=[str(tmp_path / "other.db")])
    told = json.loads((tmp_path / "a" / "disclosure.json").read_text())
    now = {key: of["value"] for key, of in told["lines"].items()}
    differ = {
        (key, name)
        for key in now
        for name in now[key].keys() | before[key].keys()
        if now[key].get(name) != before[key].get(name)
    }
    changes = told["changes"]
    assert [(c["key"], c["name"]) for c in changes if c["was"] == c["now"] == "not recorded"] == []
    assert len(changes) == len(differ)
    assert {(c["key"], c["name"]) for c in changes} == differ
    assert ("reward.loss", "naive reward") in differ  # 807 pairs, and 808
    assert ("feedback.types", "comparisons") not in differ
    loss = next(c for c in changes if (c["key"], c["name"]) == ("reward.loss", "naive reward"))
    assert (loss["was"].split()[0], loss["now"].split()[0]) == ("808", "807")
    page = (tmp_path / "a" / "disclosure.html").read_text()
    assert f"<p>{len(changes)} values differ from the other record." in page


def test_a_record_against_itself_and_against_one_with_a_project(world: World, tmp_path: Path):
    write_disclosure(world.places, tmp_path / "same", against=world.places)
    assert json.loads((tmp_path / "same" / "disclosure.json").read_text())["changes"] == []
    assert "Both records say the same in every line." in (tmp_path / "same" / "disclosure.html").read_text()
    out = tmp_path / "more"
    assert main(["audit", "disclose", *world.places, "--against", world.places[0], "--out", str(out)]) == 0
    changes = json.loads((out / "disclosure.json").read_text())["changes"]
    pay = next(c for c in changes if c["key"] == "society.pay")
    assert (pay["was"], pay["now"]) == ("not recorded", "21 EUR an hour, 6 people")
