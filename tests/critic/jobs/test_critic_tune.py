"""A critic from warm start to search, on a tiny model."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.critic.examples import Bug, BugExample, write_json_lines
from custodes.critic.jobs.tune import CriticTune, critic_tune
from custodes.critic.policies import critique_demonstration, measure_critiques, modifiers, rated, review_question
from custodes.critic.rating import Rated, RatedFinding, rate_critique
from custodes.critic.search import Candidate, Search
from custodes.feedback.critique import Finding, locate, parse_critique
from custodes.ledger import Ledger
from custodes.types import Episode, InputError


def examples(count: int, split: str, seed: int) -> list[BugExample]:
    draw = random.Random(seed)
    made = []
    for i in range(count):
        lines = [
            "def f(x):",
            *(f"    {draw.choice('abcd')} = x + {draw.randint(0, 9)}" for _ in range(3)),
            "    return x",
        ]
        at = draw.randrange(1, 4)
        clean = i % 4 == 0
        bugs = () if clean else (Bug("sign", (at + 1,), "The sign is wrong: `-` instead of `+`.", lines[at]),)
        if not clean:
            lines[at] = lines[at].replace("+", "-")
        name = f"{split}-{seed}-{i}"
        places = tuple(line for b in bugs for line in b.lines)
        said = " ".join(b.description for b in bugs)
        made.append(
            BugExample(
                name,
                "\n".join(lines),
                places,
                said,
                bugs,
                "clean" if clean else "test",
                split,
                name,
                "p",
                "p.py",
                "f",
                "MIT",
            )
        )
    return made


SMALL = {"warm_start": 24, "rated": 10, "samples": 3, "steps": 2, "tasks_per_step": 4, "measure_on": 6, "searched": 2, "max_tokens": 24, "rank": 2}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("examples") / "bugs.jsonl"
    write_json_lines(file, [*examples(60, "train", 0), *examples(8, "held-out packages", 1)])
    return file


@pytest.fixture(scope="module")
def config(data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> CriticTune:
    out = tmp_path_factory.mktemp("critic")
    return CriticTune(data=data, out=out / "run", model=str(tiny_model), reward_epochs=1, **SMALL)  # type: ignore[arg-type]


def test_demonstrations_quote_the_bug_where_it_stands_and_nothing_else() -> None:
    for example in examples(12, "train", 3):
        critique = parse_critique(critique_demonstration(example))
        assert len(critique.findings) == len(example.bugs)
        for finding, bug in zip(critique.findings, example.bugs, strict=True):
            assert bug.lines[0] in {p.start for p in locate(finding.quote, example.code)}
        perfect = measure_critiques([review_question(example)], [rate_critique(critique, example.code, example.bugs)])
        assert perfect.of("hallucinations").estimate == 0
        assert perfect.of("findings").estimate == len(example.bugs)
        if example.bugs:
            assert perfect.of("cbi").estimate == 1
        else:
            assert perfect.false_alarms.estimate == 0


def test_the_bug_is_not_in_the_question() -> None:
    for example in examples(8, "train", 4):
        asked = review_question(example).task
        assert all(b.description not in m.content for b in example.bugs for m in asked.messages)
        assert not asked.metadata


def test_all_phases_and_again_it_changes_nothing(config: CriticTune) -> None:
    summary = critic_tune(config)
    (split,) = summary["splits"].values()
    assert set(split["policies"]) == {"base", "warm start", "RL"}
    assert split["n"] == 6
    assert set(split["search"]) == {"10", "25", "50", "75"}
    assert set(split["paired"]) == {"warm start - base", "RL - base", "RL - warm start"}
    assert split["paired"]["RL - warm start"]["hallucinations"]["n"] == 6
    for folder in ("warm-start", "rl"):
        assert (config.out / folder / "adapter_model.safetensors").is_file()
    assert json.loads((config.out / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert json.dumps(critic_tune(config), sort_keys=True) == json.dumps(summary, sort_keys=True)
    with Ledger.open(config.out / "ledger.db", read_only=True) as ledger:
        run = ledger.runs()[-1]
        assert run.status == "completed"
        assert {m.name for m in ledger.models(run.id)} == {"warm start", "RL"}
        raters = list(ledger.annotators(run.id))
        assert [a.kind for a in raters] == ["simulated"]
        assert "noise_model" in raters[0].profile


def test_other_options_want_another_folder(config: CriticTune) -> None:
    with pytest.raises(InputError, match="another --out"):
        critic_tune(replace(config, steps=3))


def test_another_ppo_begins_with_what_was_learned(config: CriticTune, tmp_path: Path) -> None:
    before = critic_tune(config)
    after = critic_tune(replace(config, out=tmp_path / "run", begin=config.out, steps=1, searched=0))
    for part, name in (("warm-start", "adapter_model.safetensors"), ("reward", "model.safetensors")):
        assert (tmp_path / "run" / part / name).read_bytes() == (config.out / part / name).read_bytes()
    (was,), (now,) = before["splits"].values(), after["splits"].values()
    assert now["policies"]["warm start"] == was["policies"]["warm start"]
    weights = "rl/adapter_model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() != (config.out / weights).read_bytes()
    with Ledger.open(tmp_path / "run/ledger.db", read_only=True) as ledger:
        assert {m.name for m in ledger.models(ledger.runs()[-1].id)} == {"warm start", "RL"}


def test_a_folder_to_begin_with_that_is_none_is_one_sentence(config: CriticTune, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished warm-start"):
        critic_tune(replace(config, out=tmp_path / "run", begin=tmp_path))


def test_modifiers_reach_the_highlights_that_were_asked_for() -> None:
    def candidate(score: float, highlights: int) -> Candidate:
        return Candidate(None, parse_critique(""), highlights, score, 1)  # type: ignore[arg-type]

    searches = [Search(tuple(candidate(-abs(k - 1.0) - i / 10, k) for k in range(5)), 0) for i in range(10)]
    found = modifiers(searches, [Rated((RatedFinding(Finding("", ""), "bug"),) * n, 0, 0) for n in range(5)])
    means = [sum(s.chosen(m).highlights for s in searches) / 10 for m in found.values()]
    assert means == sorted(means)
    assert means[0] <= 1 < 3 <= means[-1]


def test_measures_are_means_over_questions_and_pairs_are_of_the_same_question() -> None:
    asked = [review_question(e) for e in examples(8, "train", 5)]
    texts = [critique_demonstration(e) for e in examples(8, "train", 5)]

    class Said:
        def __init__(self, text: str) -> None:
            self.completion = text

    good: list[Episode] = [Said(t) for t in texts]  # type: ignore[misc]
    empty: list[Episode] = [Said("nothing") for _ in texts]  # type: ignore[misc]
    right, nothing = (measure_critiques(asked, rated(asked, e)) for e in (good, empty))
    assert right.against(nothing, "cbi")["estimate"] == 1
    assert right.against(nothing, "cbi")["n"] == 6  # clean code has no bug to include
    assert nothing.of("findings").estimate == 0


def test_bad_input_is_one_sentence(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["critic", "tune", "--data", str(data), "--out", str(tmp_path / "a")]) == 2
    assert "60 training examples; 2000 for the warm start and 400 to rate" in capsys.readouterr().err.replace("\n", " ")
    assert main(["critic", "tune", "--data", str(data), "--out", str(tmp_path / "b"), "--slip", "0.7"]) == 2
    assert "slip is 0.7" in capsys.readouterr().err
    assert main(["critic", "tune", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "c")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_rows_of_ones_own_and_a_reward_of_other_raters(config: CriticTune, tmp_path: Path) -> None:
    critic_tune(config)
    rows = [json.loads(line) for line in config.data.read_text().splitlines()]
    own = [{k: r[k] for k in ("id", "code", "bug_lines", "description", "split")} for r in rows]
    data = tmp_path / "own.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in own))
    summary = critic_tune(
        replace(config, data=data, out=tmp_path / "run", reward=config.out / "reward", steps=1, searched=0)
    )
    (split,) = summary["splits"].values()
    assert split["n"] == 6
    assert str(config.out / "reward") in summary["raters"]
    with Ledger.open(tmp_path / "run/ledger.db", read_only=True) as ledger:
        assert not list(ledger.annotators(ledger.runs()[-1].id))  # nobody was simulated
    own[3].pop("description")
    own[3]["bug_lines"] = [2]
    data.write_text("".join(json.dumps(r) + "\n" for r in own))
    with pytest.raises(InputError, match=r"line 4: no example.*description"):
        critic_tune(replace(config, data=data, out=tmp_path / "other"))
    with pytest.raises(InputError, match="no folder"):
        replace(config, reward=tmp_path / "nowhere")
