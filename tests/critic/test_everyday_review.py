"""A review every day: asked once, shown at any strictness; paths and names that other programs understand; what is known
stays known where it moves."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review_data import CODE, LineCritic
from scored_lines import WordScorer

from custodes.cli import main
from custodes.critic.review.baseline import read_baseline, write_baseline
from custodes.critic.review.critics import LineCritic as ScoringCritic
from custodes.critic.review.findings import Review, Reviewed
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.formats import ANNOTATIONS, FORMATS, step_summary
from custodes.critic.review.notebooks import cells_of
from custodes.critic.review.places import repository_path, uri_of
from custodes.critic.review.snippets import find_files

SCHEMA = json.loads((Path(__file__).parent / "sarif_schema" / "sarif-2.1.0-rtm.5.json").read_text())
DEFAULT = ReviewOptions()
SUB = "def f(x):\n    return x - 1\n"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("custodes.critic.loading.open_critic", lambda choice, strictness, answers: LineCritic())
    return lambda *words: main(["critique", "--no-evidence", *words])


# ---------------------------------------------------------------- the cache


def test_scores_are_kept_apart_from_the_strictness(tmp_path: Path):
    (tmp_path / "f.py").write_text(CODE)
    scorer = WordScorer({"-=": 0.4, "- 1": 0.4}, {"-": "A minus."})
    critic, cache = ScoringCritic(scorer, "w"), tmp_path / "cache"
    counts = []
    for strictness in (0.0, 2.0, -2.0, 0.0):
        result = review([str(tmp_path / "f.py")], critic, ReviewOptions(strictness=strictness), cache)
        counts.append(len(result.findings))
        asked = scorer.asked
    assert len(asked) == 5  # five pieces, once
    assert counts[0] == counts[3] < counts[1]
    assert counts[2] == 0
    assert result.cached == result.snippets == 5


def test_a_comment_is_written_for_what_is_shown_and_kept(tmp_path: Path):
    class Commenting(ScoringCritic):
        def comments(self, snippet, quotes):
            written.extend(quotes)
            return [f"about {quote.strip()}" for quote in quotes]

        def _remarks(self, snippet, scores):
            from dataclasses import replace

            return [replace(r, finding=replace(r.finding, comment="")) for r in super()._remarks(snippet, scores)]

    written: list[str] = []
    (tmp_path / "f.py").write_text(f"{SUB}\n\n{SUB.replace('f(', 'g(')}")
    critic, file = Commenting(WordScorer({"- 1": 0.3, "def": 0.05}), "w"), str(tmp_path / "f.py")
    assert review([file], critic, DEFAULT, tmp_path / "cache").findings == []
    assert written == []
    for _ in range(2):
        (first, _) = review([file], critic, ReviewOptions(strictness=0.9), tmp_path / "cache").findings
        assert first.message == "about return x - 1"
    assert written == ["    return x - 1"] * 2  # of two functions, each once


def test_many_functions_are_read_in_one_pass_and_the_same_one_once(tmp_path: Path):
    passes = []

    class Counting(WordScorer):
        def scores(self, codes):
            passes.append(len(codes))
            return super().scores(codes)

    code = "\n\n".join(f"def f{k}(x):\n    return x - {k % 50}" for k in range(100))
    (tmp_path / "f.py").write_text(code + "\n\n" + code.replace("def", "async def"))
    (tmp_path / "g.py").write_text(code)
    files = [str(tmp_path / name) for name in ("f.py", "g.py")]
    result = review(files, ScoringCritic(Counting({"- 7": 0.9}), "w"), DEFAULT, tmp_path / "cache")
    assert len(passes) <= 5
    assert sum(passes) < 300  # of those in both files most were read before
    assert len(result.findings) == 3 * 2
    assert all(result.texts[f.file].split("\n")[f.line - 1] == "    return x - 7" for f in result.findings)


# ---------------------------------------------------------------- what is reviewed


def test_a_folder_without_python_is_no_fault(command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    assert command(str(tmp_path / "empty"), "--fail-on", "0") == 0
    assert "0 findings in 0 files" in capsys.readouterr().err
    assert command(str(tmp_path / "missing")) == 2


def notebook(*cells: str | list[str], language: str = "python") -> str:
    """A file as Jupyter writes it, outputs before sources."""
    rows = [
        {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [{"text": ["x = 3 - 1\n"]}], "source": c}
        for c in (cell if isinstance(cell, list) else cell.splitlines(keepends=True) for cell in cells)
    ]
    rows.insert(1, {"cell_type": "markdown", "metadata": {}, "source": ["x = 1 - 1"]})
    about = {"language_info": {"name": language}}
    return json.dumps({"cells": rows, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


CELLS = (
    "%matplotlib inline\nx = 3 - 1\n",
    f"files = !ls\n{SUB}",
    "%%bash\necho $((3 - 1))\n",
    "y = (5\n     % 2 - 1)\n",
)


def test_notebooks_are_read_cell_by_cell(tmp_path: Path):
    path = tmp_path / "book.ipynb"
    path.write_text(notebook(*CELLS))
    assert [str(f) for f in find_files([str(tmp_path)])] == [str(path)]
    result = review([str(path)], LineCritic(), DEFAULT)
    assert result.problems == []
    assert [(f.file.removeprefix(f"{path}#"), f.line, f.name) for f in result.findings] == [
        ("cell1", 2, "module"),
        ("cell3", 3, "f"),
        ("cell5", 2, "module"),
    ]
    raw = path.read_text().split("\n")
    stored = [raw[result.stored_at(f.file, f.line) - 1] for f in result.findings]
    assert ["- 1" in line for line in stored] == [True] * 3
    assert '"x = 3 - 1\\n"' in stored[0]
    assert result.stored_at(result.findings[0].file, 2) > raw.index('      "x = 3 - 1\\n"') + 1  # not the output's
    (location, *_) = json.loads(FORMATS["sarif"](result))["runs"][0]["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"].endswith("book.ipynb")
    assert "- 1" in raw[location["physicalLocation"]["region"]["startLine"] - 1]


def test_notebooks_that_are_none_or_of_another_language(tmp_path: Path):
    assert cells_of("a.ipynb", notebook("x - 1", language="R")) == ([], None)
    cells, problem = cells_of("a.ipynb", "{")
    assert (cells, problem and problem.file) == ([], "a.ipynb")
    for text in ("[]", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"source": 3}]}', "null"):
        assert cells_of("a.ipynb", text)[1] is not None
    sound = {"cell_type": "code", "source": "x - 1"}
    cells, problem = cells_of("a.ipynb", json.dumps({"cells": [3, sound, {**sound, "source": [1]}]}))
    assert [cell.text for cell in cells] == ["x - 1"]
    assert problem is not None
    assert problem.message == "cell 1 holds no text, and was not reviewed"
    (cell,) = cells_of("a.ipynb", json.dumps({"cells": [{"cell_type": "code", "source": SUB}]}))[0]
    assert (cell.text, cell.lines) == (SUB, (1, 1, 1))


def test_of_a_notebook_only_changed_cells_are_reviewed_in_a_diff(tmp_path: Path):
    path = tmp_path / "book.ipynb"
    path.write_text(notebook("a = 3 - 1\n", "b = 4 - 1\n"))
    line = next(n for n, text in enumerate(path.read_text().split("\n"), 1) if "b = 4" in text)
    result = review([str(path)], LineCritic(), DEFAULT, changed={str(path): {line}})
    assert [f.quote for f in result.findings] == ["b = 4 - 1"]


@pytest.mark.parametrize(
    ("comment", "shown"),
    [
        ("ignore[one-short]", 0),
        ("ignore[other, One_Short]", 0),
        ("ignore", 0),
        ("ignore[]", 0),
        ("ignore[argument-only]", 0),
        ("ignore[other]", 1),
    ],
)
@pytest.mark.parametrize("place", ["def f(x):", "return x - 1"])
def test_a_comment_can_name_the_kind_that_it_silences(comment: str, shown: int, place: str):
    class OfKind(LineCritic):
        def review(self, snippet):
            from dataclasses import replace

            return [replace(r, suspicion="one_short") for r in super().review(snippet)]

    text = SUB.replace(place, f"{place}  # custodes: {comment}")
    result = review(["f.py"], OfKind(), DEFAULT, texts={"f.py": text})
    assert (len(result.findings), result.hidden) == (shown, 1 - shown)


# ---------------------------------------------------------------- what is known


def test_what_is_known_stays_known_where_its_file_moves(tmp_path: Path):
    old, new = tmp_path / "old.py", tmp_path / "below" / "new.py"
    old.write_text(SUB)
    write_baseline(tmp_path / "known.json", review([str(old)], LineCritic(), DEFAULT))
    known = read_baseline(tmp_path / "known.json")
    new.parent.mkdir()
    old.rename(new)
    result = review([str(new)], LineCritic(), DEFAULT, known=known)
    assert (result.findings, result.hidden) == ([], 1)
    new.write_text(SUB + "\n\n" + SUB.replace("f(x)", "g(x)"))
    result = review([str(new)], LineCritic(), DEFAULT, known=known)
    assert [f.name for f in result.findings] == ["g"]  # another function with the same line
    write_baseline(tmp_path / "known.json", result, known)
    assert {key.file for key in read_baseline(tmp_path / "known.json").counts} == {"below/new.py"}


def test_a_copy_is_known_as_often_as_it_was(tmp_path: Path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(SUB)
    write_baseline(tmp_path / "known.json", review([str(tmp_path / "a.py")], LineCritic(), DEFAULT))
    both = [str(tmp_path / name) for name in ("a.py", "b.py")]
    known = read_baseline(tmp_path / "known.json")
    assert [f.file for f in review(both, LineCritic(), DEFAULT, known=known).findings] == [both[1]]


# ---------------------------------------------------------------- for programs


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose folder below is the current one."""
    top = tmp_path / "a repository"
    (top / "src" / "pkg").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    monkeypatch.chdir(top / "src")
    return top


def test_annotations_name_files_from_the_root_and_are_ten(
    command, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    Path("pkg/f.py").write_text("\n\n".join(SUB.replace("f(", f"f{k}(") for k in range(13)))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(checkout / "summary.md"))
    assert command("pkg", "--format", "github") == 0
    lines = capsys.readouterr().out.strip().split("\n")
    commands = [line for line in lines if line.startswith("::")]
    assert len(commands) == ANNOTATIONS == 10
    assert all(line.startswith("::warning file=src/pkg/f.py,line=") for line in commands)
    assert [line.split(":")[0] for line in lines[10:]] == ["- src/pkg/f.py"] * 3
    summary = (checkout / "summary.md").read_text()
    assert len(re.findall(r"^\| src/pkg/f\.py:\d+ \|", summary, re.MULTILINE)) == 13
    assert command("pkg", "--format", "github") == 0
    twice = (checkout / "summary.md").read_text()
    assert twice.startswith(summary)  # a step may hold several commands
    assert twice.count("### Custodes") == 2


def test_what_is_reviewed_writes_no_markdown_and_no_command():
    evil = [Reviewed("f.py", 1, 1, "x", "<b>|[x](y) `z`\n::error::fake", 0.5, ((1, 1),))] * (ANNOTATIONS + 2)
    told = step_summary(Review(evil))
    assert not set("<[]`") & set(told)
    assert all(line.count("|") == 4 for line in told.split("\n") if line.startswith("|"))
    printed = FORMATS["github"](Review(evil)).split("\n")
    assert not any(line.lstrip().startswith("::") for line in printed[ANNOTATIONS:])
    assert len(printed) == ANNOTATIONS + 2


RFC_3986_RELATIVE = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=@/]|%[0-9A-Fa-f]{2})*")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
        min_size=1,
        max_size=3,
    )
)
def test_a_uri_is_one_by_the_standard_and_leads_back(parts: list[str]):
    name = "/".join(parts)
    for path in (name, f"/{name}"):
        written = uri_of(path)
        split = urlsplit(written)
        assert split.scheme == ("file" if path.startswith("/") else "")
        assert (split.query, split.fragment, split.netloc) == ("", "", "")
        assert RFC_3986_RELATIVE.fullmatch(written.removeprefix("file://"))
        assert unquote(written.removeprefix("file://"), errors="surrogateescape") == os.fsdecode(os.fsencode(path))


def test_sarif_names_files_from_the_root_by_the_standard(checkout: Path, tmp_path: Path):
    for name in ("pkg/a b#c%d:é.py", "../../outside.py"):
        Path(name).write_text(SUB)
    result = review(["pkg/a b#c%d:é.py", "../../outside.py"], LineCritic(), DEFAULT)
    told = json.loads(FORMATS["sarif"](result))
    jsonschema.Draft4Validator(SCHEMA).validate(told)
    (run,) = told["runs"]
    inside, outside = (r["locations"][0]["physicalLocation"]["artifactLocation"] for r in run["results"])
    assert inside == {"uri": "src/pkg/a%20b%23c%25d%3A%C3%A9.py", "uriBaseId": "%SRCROOT%"}
    assert outside == {"uri": f"file://{tmp_path}/outside.py"}
    base = run["originalUriBaseIds"]["%SRCROOT%"]["uri"]
    assert base == f"file://{tmp_path}/a%20repository/"
    assert Path(unquote(base.removeprefix("file://") + inside["uri"])).read_text() == SUB
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert {rules[r["ruleIndex"]] for r in run["results"]} == {r["ruleId"] for r in run["results"]} == {"argument-only"}


def test_a_finding_is_the_same_from_everywhere_in_the_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    Path("pkg/f.py").write_text(SUB)
    there = review(["pkg/f.py"], LineCritic(), DEFAULT).findings[0].fingerprint
    monkeypatch.chdir("pkg")
    assert review(["f.py"], LineCritic(), DEFAULT).findings[0].fingerprint == there
    assert repository_path("f.py") == "src/pkg/f.py"
