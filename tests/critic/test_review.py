"""Files become findings, whatever the files are like; what is known, ignored, unchanged or impossible is told apart."""

import codecs
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from review_data import CODE, INJECTIONS, LineCritic, SayingEngine
from rich.console import Console

from custodes.cli import main
from custodes.critic.jobs.critique import ReviewedCode
from custodes.critic.review.baseline import Baseline, read_baseline, write_baseline
from custodes.critic.review.critics import LikelihoodCritic, SampledCritic, _docstring_lines
from custodes.critic.review.diffs import lines_changed_since
from custodes.critic.review.findings import Review, show, summary
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.formats import FORMATS
from custodes.critic.review.question import OPENING, plain_question, task_of
from custodes.critic.review.remarks import EngineDied, Remark
from custodes.critic.review.snippets import Snippet, find_files, ignored_lines, read_text, snippets_of
from custodes.feedback.critique import Place
from custodes.lm.loading import load
from custodes.types import InputError

SCHEMA = json.loads((Path(__file__).parent / "sarif_schema" / "sarif-2.1.0-rtm.5.json").read_text())
DEFAULT = ReviewOptions()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "code.py"
    path.write_text(CODE)
    return str(path)


# ---------------------------------------------------------------- what is reviewed


def test_functions_methods_and_module_code_are_pieces():
    snippets, problems = snippets_of("f.py", CODE)
    assert [(s.name, s.first, s.last) for s in snippets] == [
        ("module", 1, 1),
        ("last", 4, 9),
        ("module", 12, 13),
        ("Box.grow", 15, 17),
        ("module", 20, 20),
    ]
    assert problems == []
    lines = CODE.split("\n")
    assert all(s.code == "\n".join(lines[s.first - 1 : s.last]) for s in snippets)


def test_what_does_not_parse_is_named_and_the_rest_is_reviewed():
    broken = CODE.replace("class Box:", "class Box(:")
    snippets, problems = snippets_of("f.py", broken)
    assert {s.name for s in snippets} >= {"last", "module"}
    (problem,) = problems
    assert problem.line == 12
    assert "line 12 does not parse" in problem.message
    assert "Box.grow" in {s.name for s in snippets}


def test_a_broken_method_costs_no_other():
    broken = CODE.replace("    def grow", "    def half(self:\n        pass\n\n    @property\n    def grow")
    snippets, (problem,) = snippets_of("f.py", broken)
    assert [(s.name, s.first, s.last) for s in snippets if s.first > 9] == [
        ("module", 13, 13),
        ("Box.grow", 18, 21),
        ("module", 24, 24),
    ]
    assert str(problem).startswith("f.py:15: lines 15 to 16 do not parse ('(' was never closed)")


def test_a_string_that_looks_like_code_is_no_border():
    told = '"""Doc.\n\nfor x in y: z\n"""\n\n\ndef f(:\n    pass\n'
    snippets, (problem,) = snippets_of("f.py", told)
    assert [(s.first, s.last) for s in snippets] == [(1, 4)]
    assert "lines 7 to 8" in problem.message


@pytest.mark.parametrize("margin", ["    ", "\t"])
def test_an_indented_excerpt_is_reviewed_where_it_stands(margin: str):
    method = "\n".join(margin + line for line in ("def f(x):", f'{margin}"""Doc."""', f"{margin}return x"))
    snippets, problems = snippets_of("-", f"{method}\n\n# a comment\n{method}")
    assert [(s.name, s.first, s.last) for s in snippets] == [("f", 1, 3), ("f", 6, 8)]
    assert snippets[0].code == method
    assert problems == []
    snippets, problems = snippets_of("-", method.replace("Doc.", "Doc\nfrom the margin."))
    assert ([s.name for s in snippets], problems) == (["f"], [])


@pytest.mark.parametrize(
    "line",
    ["x = " + "-" * 100_000 + "1", "x = " + "(" * 500 + ")" * 500, "x = " + "1+" * 5_000 + "1", "x = '\ud800'"],
)
def test_code_that_python_cannot_read_costs_its_lines_alone(line: str):
    text = f"def f(x):\n    return x - 1  # custodes: ignore\n\n{line}\n\ndef g(x):\n    return x - 1\n"
    snippets, problems = snippets_of("f.py", text)
    assert {"f", "g"} <= {s.name for s in snippets}
    assert all("line 4 does not parse" in str(p) for p in problems)
    assert set(ignored_lines(text)) == {2}
    assert [f.line for f in review(["f.py"], LineCritic(), DEFAULT, texts={"f.py": text}).findings] == [7]
    assert _docstring_lines(line) == set()


def test_nested_and_slanting_nonsense_ends_soon():
    nested = "".join(" " * n + f"class A{n}:\n" for n in range(400))
    slanting = "".join(" " * (400 - n) + "x = (\n" for n in range(400))
    for text in (
        nested,
        slanting,
        "class A:\n",
        "class A:\n    # nothing\n",
        "\u2028\nx = (\n",
        "int f(x) {\n  return 0;\n}\n" * 400,
    ):
        assert snippets_of("f.py", text)[1]


def test_a_file_of_nonsense_is_one_problem_or_more_and_no_crash():
    snippets, problems = snippets_of("f.py", "<html>\n  <body>\n")
    assert snippets == []
    assert problems


def test_an_empty_file_has_nothing_to_review(tmp_path: Path):
    (tmp_path / "empty.py").write_text("")
    result = review([str(tmp_path / "empty.py")], LineCritic(), DEFAULT)
    assert (result.findings, result.problems, result.snippets) == ([], [], 0)


def test_windows_line_ends_and_tabs_keep_their_numbers(tmp_path: Path):
    (tmp_path / "w.py").write_bytes(CODE.replace("    ", "\t").replace("\n", "\r\n").encode())
    (finding,) = review([str(tmp_path / "w.py")], LineCritic(), DEFAULT).findings
    assert (finding.line, finding.quote) == (7, "\tfor i in range(len(items) - count, len(items) - 1):")


def test_declared_encodings_are_read_and_others_are_said_to_be_unreadable(tmp_path: Path):
    latin = tmp_path / "latin.py"
    latin.write_bytes("# -*- coding: latin-1 -*-\nname = 'é' - 1\n".encode("latin-1"))
    assert review([str(latin)], LineCritic(), DEFAULT).findings[0].quote == "name = 'é' - 1"
    marked = tmp_path / "marked.py"
    marked.write_bytes("\ufeffx = 2 - 1\n".encode())
    assert review([str(marked)], LineCritic(), DEFAULT).findings[0].quote == "x = 2 - 1"
    (tmp_path / "utf16.py").write_bytes("y = 2 - 1\n".encode("utf-16"))
    assert review([str(tmp_path / "utf16.py")], LineCritic(), DEFAULT).findings[0].line == 1
    for order in ("le", "be"):
        mark = codecs.BOM_UTF32_LE if order == "le" else codecs.BOM_UTF32_BE
        (tmp_path / "utf32.py").write_bytes(mark + "y = 2 - 1\n".encode(f"utf-32-{order}"))
        assert read_text(str(tmp_path / "utf32.py")) == ("y = 2 - 1\n", None)
    bad = tmp_path / "bad.py"
    bad.write_bytes(b"x = '\xe9'\n")
    (problem,) = review([str(bad)], LineCritic(), DEFAULT).problems
    assert "cannot be decoded" in problem.message
    assert read_text(str(tmp_path / "none.py"))[1] is not None
    (tmp_path / "nul.py").write_bytes(b"x = 1\0\n")
    assert "NUL" in str(read_text(str(tmp_path / "nul.py"))[1])


def test_twenty_thousand_lines_go_function_by_function_with_progress(tmp_path: Path):
    path = tmp_path / "long.py"
    path.write_text("".join(f"def f{i}(x):\n    y = x\n    return y - {i % 3}\n\n" for i in range(5000)))
    seen = []
    critic = LineCritic()
    result = review([str(path)], critic, DEFAULT, on_progress=lambda done, of: seen.append((done, of)))
    assert len(critic.asked) == 5000
    assert seen[0] == (0, 5000)
    assert seen[-1] == (4999, 5000)
    assert len(result.findings) == 1667
    assert all(f.line % 4 == 3 for f in result.findings)


def test_a_long_function_is_cut_and_nothing_is_lost():
    code = "def f(x):\n" + "".join(f"    x += {i}\n" for i in range(200)) + "    return x\n"
    snippets, _ = snippets_of("f.py", code)
    assert "\n".join(s.code for s in snippets) == code.rstrip("\n")
    assert max(s.last - s.first for s in snippets) < 60


def test_folders_are_searched_without_what_is_not_ours(tmp_path: Path):
    for name in ("a.py", "sub/b.py", ".hidden/c.py", "venv/d.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    assert [p.name for p in find_files([str(tmp_path)])] == ["a.py", "b.py"]
    with pytest.raises(InputError, match="no file or folder"):
        list(find_files([str(tmp_path / "nothing")]))


# ---------------------------------------------------------------- what is shown


def test_a_quote_that_occurs_twice_lists_both_places(tmp_path: Path):
    path = tmp_path / "twice.py"
    path.write_text("def f(x):\n    y = x - 1\n    g(y)\n    y = x - 1\n    return y\n")
    (finding,) = review([str(path)], LineCritic(), DEFAULT).findings
    assert finding.places == ((2, 2), (4, 4))
    assert "also 4" in FORMATS["text"](Review([finding], files=1))


def test_findings_are_ordered_capped_and_strictness_decides_which(file: str):
    critic = SampledCritic(
        SayingEngine(
            "```\n    found = []\n```\nNo.\n\n```\n    return found\n```\nShort.",
            "```\n    return found\n```\nA longer reason.",
            "No problems found.",
            "```\nnot in the code\n```\nHm.",
        ),
        "says",
    )
    result = review([file], critic, ReviewOptions(strictness=1.0))
    assert [(f.quote.strip(), f.confidence) for f in result.findings] == [("return found", 0.5), ("found = []", 0.25)]
    assert result.findings[0].message == "A longer reason."
    assert [f.confidence for f in review([file], critic, DEFAULT).findings] == [0.5]
    assert len(review([file], critic, ReviewOptions(strictness=1.0, max_findings=1)).findings) == 1
    with pytest.raises(InputError, match="max_findings"):
        ReviewOptions(max_findings=-1)
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(InputError, match="strictness"):
            ReviewOptions(strictness=value)


def test_a_critique_that_quotes_nothing_gives_no_finding(file: str):
    critic = SampledCritic(SayingEngine("This code has many bugs, all over."), "says")
    assert review([file], critic, ReviewOptions(strictness=9)).findings == []


@pytest.mark.parametrize("place", ["    for i", "def last"])
def test_a_comment_silences_its_line_or_its_function(tmp_path: Path, place: str):
    lines = [f"{line}  # custodes: ignore" if line.startswith(place) else line for line in CODE.split("\n")]
    (tmp_path / "f.py").write_text("\n".join(lines))
    result = review([str(tmp_path / "f.py")], LineCritic(), DEFAULT)
    assert (result.findings, result.hidden) == ([], 1)
    assert ignored_lines(CODE) == {}


@pytest.mark.parametrize(
    ("code", "silent"),
    [
        ('z = "# custodes: ignore - 1"\n', set()),
        ('"""\n# custodes: ignore\n"""\nx = 1  # Custodes: Ignore\n', {4}),
        ("@a  # custodes: ignore\n@b\ndef f(x):\n    y\n    return 1\nz = 1\n", {1, 2, 3, 4, 5}),
        ("@a\nasync def f(\n    x,  # custodes: ignore\n):\n    return 1\nz = 1\n", {1, 2, 3, 4, 5}),
        ("class A:\n    @a  # custodes: ignore\n    def f(x):\n        y\n    def g(x):\n        y\n", {2, 3, 4}),
        ("def f(x): return (x  # custodes: ignore\n  - 1)\nz = 1\n", {1, 2}),
        ("    def f(x):  # custodes: ignore\n        y\n    def g(x):\n        s = '# custodes: ignore'\n", {1, 2}),
        ("def f(x):  # custodes: ignore\n    y\nz = (1\ns = '# custodes: ignore'\n", {1, 2}),
        ('x = 1 $ 2  # custodes: ignore\n"""\n# custodes: ignore\n', {1, 3}),
        ("def f(x):\n\f    y  # custodes: ignore\n    z = '\u2028'  # custodes: ignore\n", {2, 3}),
    ],
)
def test_comments_silence_and_strings_do_not(code: str, silent: set[int]):
    assert set(ignored_lines(code)) == silent


def test_a_baseline_hides_what_is_known_wherever_it_moves(file: str, tmp_path: Path):
    write_baseline(tmp_path / "known.json", review([file], LineCritic(), DEFAULT))
    Path(file).write_text("# a new line\n" + CODE + "y = 3 - 1\n")
    result = review([file], LineCritic(), DEFAULT, known=read_baseline(tmp_path / "known.json"))
    assert [f.quote for f in result.findings] == ["y = 3 - 1"]
    assert result.hidden == 1
    with pytest.raises(InputError, match="--write-baseline"):
        read_baseline(tmp_path / "none.json")
    (tmp_path / "old.json").write_text('[{"fingerprint": "0a", "file": "code.py", "quote": "x = 1"}]')
    with pytest.raises(InputError, match="older version"):
        read_baseline(tmp_path / "old.json")


def known_in(tmp_path: Path, text: str) -> Baseline:
    """The baseline of a file with this text."""
    (tmp_path / "f.py").write_text(text)
    write_baseline(tmp_path / "known.json", review([str(tmp_path / "f.py")], LineCritic(), DEFAULT))
    return read_baseline(tmp_path / "known.json")


F = "def f(x):\n    return x - 1\n\n\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# moved\n\n" + F, []),
        (F + F.replace("f(x)", "g(x)"), [6]),
        (F + "class A:\n    def f(self, x):\n    " + F.split("\n")[1] + "\n", [7]),
        (F + F, [6]),
        ("def f(x):\n    if x:\n        return 0\n    return x - 1\n    return x - 1\n", [4]),
    ],
)
def test_what_a_baseline_knows_is_known_in_its_function_and_so_often(tmp_path: Path, text: str, lines: list[int]):
    known = known_in(tmp_path, F)
    (tmp_path / "f.py").write_text(text)
    for _ in range(2):  # a review uses nothing up
        result = review([str(tmp_path / "f.py")], LineCritic(), DEFAULT, known=known)
        assert [f.line for f in result.findings] == lines


def test_a_known_line_that_is_written_again_in_a_diff_is_new(tmp_path: Path):
    known = known_in(tmp_path, F)
    file = str(tmp_path / "f.py")
    Path(file).write_text(F.rstrip() + "\n    return x - 1\n")
    result = review([file], LineCritic(), DEFAULT, changed={file: {3}}, known=known)
    assert [f.line for f in result.findings] == [3]
    write_baseline(tmp_path / "known.json", result, known)
    assert review([file], LineCritic(), DEFAULT, known=read_baseline(tmp_path / "known.json")).findings == []


def test_a_baseline_is_renewed_without_losing_what_is_still_known(tmp_path: Path):
    known = known_in(tmp_path, F + "y = 2 - 1\n")
    other = tmp_path / "g.py"
    other.write_text("z = 3 - 1\n")
    result = review([str(other)], LineCritic(), DEFAULT, known=known)
    (tmp_path / "below").mkdir()
    write_baseline(tmp_path / "below" / "new.json", result, known)
    known = read_baseline(tmp_path / "below" / "new.json")
    assert {(key.file, key.quote) for key in known.counts} == {
        ("../f.py", "return x - 1"),
        ("../f.py", "y = 2 - 1"),
        ("../g.py", "z = 3 - 1"),
    }
    (tmp_path / "f.py").write_text(F + "new = 5 - 1\n")
    dead = review([str(other), str(tmp_path / "f.py")], LineCritic(lives=0), DEFAULT, known=known)
    write_baseline(known.path, dead, known)
    assert read_baseline(known.path).counts == known.counts
    write_baseline(known.path, review([str(tmp_path / "f.py")], LineCritic(), DEFAULT, known=known), known)
    assert {key.quote for key in read_baseline(known.path).counts} == {
        "return x - 1",
        "new = 5 - 1",
        "z = 3 - 1",
    }


def test_a_baseline_names_files_from_its_folder_however_they_are_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sub").mkdir()
    known_in(tmp_path, F)
    for folder, name, kept in (
        (tmp_path, "f.py", "known.json"),
        (tmp_path / "sub", "../f.py", "../known.json"),
        (tmp_path / "sub", str(tmp_path / "f.py"), str(tmp_path / "known.json")),
    ):
        monkeypatch.chdir(folder)
        assert review([name], LineCritic(), DEFAULT, known=read_baseline(Path(kept))).hidden == 1
    (row,) = json.loads((tmp_path / "known.json").read_text())
    assert {key: row[key] for key in ("file", "name", "quote", "count")} == {
        **{"file": "f.py", "name": "f", "quote": "    return x - 1", "count": 1}
    }


def test_a_summary_asks_for_strictness_where_nothing_is_hidden():
    assert summary(Review(files=1, snippets=1)).startswith("0 findings in 1 file; 1 piece, 0 from the cache. A higher")
    assert (
        summary(Review(files=2, snippets=2, hidden=1)) == "0 findings in 2 files; 2 pieces, 0 from the cache; 1 hidden."
    )


def test_unchanged_pieces_cost_nothing_and_move_with_their_lines(file: str, tmp_path: Path):
    first = review([file], LineCritic(), DEFAULT, tmp_path / "cache")
    Path(file).write_text("# one\n# two\n" + CODE)
    critic = LineCritic()
    second = review([file], critic, DEFAULT, tmp_path / "cache")
    assert (first.cached, second.cached) == (0, 4)
    assert [s.first for s in critic.asked] == [1]  # the piece that the new lines are part of
    assert second.findings[0].line == first.findings[0].line + 2
    other = LineCritic("append")
    assert review([file], other, DEFAULT, tmp_path / "cache").cached == 0


def test_an_engine_that_dies_in_the_middle_of_a_folder_leaves_what_was_done(tmp_path: Path):
    files = []
    for i in range(4):
        (tmp_path / f"f{i}.py").write_text(f"def f(x):\n    y = x\n    return y - 1{i}\n")
        files.append(str(tmp_path / f"f{i}.py"))
    result = review(files, LineCritic(lives=2), DEFAULT, tmp_path / "cache")
    assert len(result.findings) == 2
    assert result.died == "2 of 4 pieces were not reviewed: connection refused"
    assert ReviewedCode(result, None).exit_code == 2
    critic = LineCritic()
    assert len(review(files, critic, DEFAULT, tmp_path / "cache").findings) == 4
    assert len(critic.asked) == 2


@pytest.mark.parametrize("broken", ["folder", "writing", "reading"])
def test_a_cache_that_cannot_be_used_is_said_once_and_stops_nothing(file: str, tmp_path: Path, broken: str):
    cache, folder = tmp_path / "cache", tmp_path / "cache" / LineCritic().fingerprint[:16]
    if broken == "folder":
        cache.write_text("a file where a folder should be")
    else:
        for snippet in snippets_of(file, CODE)[0]:
            name = f"{snippet.key}.json"
            (folder / (f".{name}.{os.getpid()}.partial" if broken == "writing" else name)).mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"CUSTODES_CACHE.*--no-cache") as notes:
        result = review([file], LineCritic(), DEFAULT, cache)
    assert len(notes) == 1
    assert [f.line for f in result.findings] == [7]


def test_what_died_is_one_sentence():
    class Dead(LineCritic):
        def review(self, snippet: Snippet) -> list[Remark]:
            raise EngineDied("check the address.")

    died = review(["f.py"], Dead(), DEFAULT, texts={"f.py": "x = 1\n"}).died
    assert died == "1 of 1 piece was not reviewed: check the address"


def test_an_endpoint_without_answers_is_dead():
    with pytest.raises(EngineDied):
        SampledCritic(SayingEngine("", fails=True), "x").review(Snippet("f.py", 1, "x = 1", "module"))


# ---------------------------------------------------------------- changed lines


def git(*words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, *words], check=True, capture_output=True, env={**os.environ, "GIT_CONFIG_GLOBAL": ""})


def test_a_diff_restricts_findings_to_changed_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    Path("f.py").write_text(CODE)
    Path("same.py").write_text(CODE)
    git("add", ".")
    git("commit", "-qm", "first")
    Path("f.py").write_text(CODE.replace("size = 3", "size = 3 - 1"))
    assert lines_changed_since("HEAD", []) == {"f.py": {13}}
    critic = LineCritic()
    result = review(["f.py"], critic, DEFAULT, changed=lines_changed_since("HEAD", []))
    assert [f.line for f in result.findings] == [13]
    assert [s.name for s in critic.asked] == ["module"]
    with pytest.raises(InputError, match="git cannot say"):
        lines_changed_since("nonsense", [])
    with pytest.raises(InputError, match="no revision"):
        lines_changed_since("--output=x", [])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One commit, in which every file changes afterwards; we are in a folder below."""
    top = tmp_path / "repository"
    for name in ("top.py", "sub/[a]*.py", "sub/script", ".gitignore"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x = 1\n")
    monkeypatch.chdir(top)
    git("init", "-q")
    git("config", "diff.relative", "true")
    git("add", ".")
    git("commit", "-qm", "first")
    for name in ("top.py", "sub/[a]*.py", "sub/script"):
        (top / name).write_text("x = 1\ny = 2 - 1\n")
    (top / ".gitignore").write_text("ignored.py\n")
    for name in ("ignored.py", "venv/lib.py", "sub/new.py", "other.txt"):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text("a = 1\nb = 2")
    monkeypatch.chdir(top / "sub")
    return top


def test_a_diff_is_of_the_whole_repository_and_names_files_from_here(repository: Path):
    assert lines_changed_since("HEAD", []) == {"../top.py": {2}, "[a]*.py": {2}, "new.py": {1, 2}}
    assert lines_changed_since("HEAD", ["../top.py"]) == {"../top.py": {2}}
    assert lines_changed_since("HEAD", [str(repository / "top.py")]) == {"../top.py": {2}}
    assert lines_changed_since("HEAD", ["."]) == {"[a]*.py": {2}, "new.py": {1, 2}}
    assert lines_changed_since("HEAD", ["script", "../other.txt"]) == {"script": {2}, "../other.txt": {1, 2}}
    assert lines_changed_since("HEAD", ["../venv"]) == {"../venv/lib.py": {1, 2}}
    git("add", "-A", "..")
    git("rm", "-qf", "../top.py")
    git("commit", "-qm", "second")
    assert lines_changed_since("HEAD", []) == {}


@pytest.mark.parametrize(
    ("path", "said"), [("missing.py", "no file or folder 'missing.py'"), ("-", "standard input"), ("/etc", "outside")]
)
def test_a_diff_of_what_git_cannot_compare_is_refused(command, repository: Path, path: str, said: str, capsys):
    assert command(path, "--diff", "HEAD") == 2
    assert said in capsys.readouterr().err


# ---------------------------------------------------------------- formats


def whole(file: str) -> Review:
    result = review([file], LineCritic("= "), ReviewOptions())
    result.findings += review([file], LineCritic("return", 0.4), ReviewOptions(strictness=1)).findings
    return result


def test_json_is_a_list_of_findings_with_the_promised_fields(file: str):
    rows = json.loads(FORMATS["json"](whole(file)))
    assert rows
    assert all({"file", "line", "end_line", "quote", "message", "confidence"} <= row.keys() for row in rows)
    assert json.loads(FORMATS["json"](Review())) == []


def test_sarif_validates_against_its_schema(file: str):
    result = whole(file)
    result.problems = snippets_of("b.py", "def f(:\n")[1]
    result.died = "an engine died"
    for one in (result, Review()):
        jsonschema.Draft4Validator(SCHEMA).validate(json.loads(FORMATS["sarif"](one)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate({"version": "2.1.0"})


def test_rdjson_and_text_name_file_line_and_message(file: str):
    rows = json.loads(FORMATS["rdjson"](whole(file)))["diagnostics"]
    assert rows[0]["location"]["path"] == file
    assert rows[0]["location"]["range"]["start"]["line"] >= 1
    assert FORMATS["text"](whole(file)).startswith(f"{file}:")


def test_github_commands_cannot_be_forged():
    from custodes.critic.review.findings import Reviewed

    evil = Reviewed("a,b:c.py", 1, 1, "x", "bad\n::error::fake %0A", 0.5, ((1, 1),))
    (line,) = FORMATS["github"](Review([evil])).split("\n")
    assert line.startswith("::warning file=a%2Cb%3Ac.py,line=1,")
    assert line.endswith("::bad%0A::error::fake %250A")


def test_the_terminal_shows_quote_and_comment(file: str):
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    show(whole(file), console)
    text = console.export_text()
    assert "found = []" in text
    assert "One short." in text
    assert "confidence 90%" in text


# ---------------------------------------------------------------- models


@pytest.fixture(scope="module")
def tiny(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LikelihoodCritic:
    folder = tmp_path_factory.mktemp("roomy") / "model"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    return LikelihoodCritic(load(folder, dtype="float32"), comment_tokens=8)


SNIPPET = Snippet("f.py", 11, "def f(a, b):\n    c = a\n    d = b\n    c = a\n    return c", "f")


def test_a_model_scores_every_line_that_can_hold_a_bug(tiny: LikelihoodCritic):
    remarks = tiny.review(SNIPPET)
    assert len(remarks) == 3
    assert all(0 < r.confidence < 1 and r.finding.comment for r in remarks)
    assert remarks == sorted(remarks, key=lambda r: -r.confidence)
    lines = SNIPPET.code.split("\n")
    for r in remarks:
        assert all(lines[p.start - 11] == r.finding.quote for p in r.places)
    assert tiny.review(SNIPPET) == remarks


def test_shares_of_all_lines_sum_to_the_probability_of_a_quote(tiny: LikelihoodCritic, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("custodes.critic.review.critics.WORTH_A_COMMENT", 99)
    remarks = tiny.review(SNIPPET)
    assert len(remarks) == 4  # `c = a` once, at two places
    quote, none = tiny._logprobs(task_of(SNIPPET, tiny.words), "", [OPENING, "No problems found."])
    assert sum(r.confidence for r in remarks) == pytest.approx(np.exp(quote) / (np.exp(quote) + np.exp(none)), rel=1e-4)
    assert {p for r in remarks for p in r.places} == {Place(n, n) for n in range(11, 16)}


def test_code_longer_than_the_context_is_cut(tiny_model: Path):
    tiny = LikelihoodCritic(load(tiny_model, dtype="float32"), comment_tokens=8)
    long = Snippet("f.py", 1, "\n".join(f"value_{i} = {i}" for i in range(60)), "module")
    remarks = tiny.review(long)
    assert len(remarks) > 3  # of several pieces, with the lines of the whole
    lines = long.code.split("\n")
    assert all(lines[p.start - 1] == r.finding.quote for r in remarks for p in r.places)


@pytest.mark.parametrize("text", INJECTIONS)
def test_reviewed_code_cannot_give_orders(tiny: LikelihoodCritic, text: str, tmp_path: Path):
    code = f"{text}\nvalue = 3 - 1\n"
    snippet = Snippet("f.py", 1, code.rstrip("\n"), "module")
    prompt = tiny.lm.encode(task_of(snippet, tiny.words).messages)
    empty = tiny.lm.encode(task_of(Snippet("f.py", 1, "x", "module"), tiny.words).messages)
    special = [tiny.lm.tokenizer.convert_tokens_to_ids(word) for word in tiny.words]
    assert all((prompt == i).sum() == (empty == i).sum() for i in special)  # no turn ends or begins inside the code
    asked = task_of(snippet).messages[0].content
    fence = asked.split("python\n", 1)[0].rsplit("\n", 1)[-1]
    assert asked.endswith(f"\n{fence}")
    assert fence not in snippet.code
    obeys = SayingEngine(text, f"```\n{text}\n```\n\x1b[2J::error::x\u202e", "LGTM", "```\nos.remove('/')\n```\nGone.")
    (tmp_path / "f.py").write_text(code)
    result = review([str(tmp_path / "f.py")], SampledCritic(obeys, "x"), ReviewOptions(strictness=9))
    assert not result.died
    lines = read_text(str(tmp_path / "f.py"))[0].split("\n")
    for finding in result.findings:
        assert "os.remove" not in finding.quote
        assert 1 <= finding.line <= len(lines)
        assert not set(finding.message) & {"\x1b", "\n", "\u202e"}
    jsonschema.Draft4Validator(SCHEMA).validate(json.loads(FORMATS["sarif"](result)))


def test_there_are_at_least_twenty_injections():
    assert len(set(INJECTIONS)) >= 20
    assert plain_question("a\x1b[31m\u202eb\nc") == "a[31mb c"


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("custodes.critic.loading.open_critic", lambda choice, strictness, answers: LineCritic())

    def run(*words: str) -> int:
        return main(["critique", "--no-evidence", *words])

    return run


def test_exit_codes_are_those_of_a_check(command, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command(file) == 0
    assert command(file, "--fail-on", "0.5") == 1
    assert command(file, "--fail-on", "0.95") == 0
    (tmp_path / "broken.py").write_text("def f(:\n")
    assert command(str(tmp_path / "broken.py"), file) == 2
    assert "does not parse" in capsys.readouterr().err


def test_json_on_the_command_line_is_json_alone(command, file: str, capsys: pytest.CaptureFixture[str]):
    assert command(file, "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["line"], row["end_line"], row["confidence"]) == (7, 7, 0.9)


def test_a_baseline_is_written_and_used(command, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    known = str(tmp_path / "known.json")
    assert command(file, "--write-baseline", known) == 0
    assert command(file, "--baseline", known, "--write-baseline", known, "--fail-on", "0") == 0
    assert "strictness" not in capsys.readouterr().err
    assert command(file, "--baseline", known, "--fail-on", "0") == 0
    assert len(json.loads(Path(known).read_text())) == 1


def test_a_cache_that_cannot_be_written_is_a_note(
    command, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "none").write_text("")
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "none"))
    with pytest.warns(UserWarning, match="CUSTODES_CACHE"):
        assert command(file, "--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_standard_input_is_reviewed(command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    import io

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CODE.encode())))
    assert command("-", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["file"] == "-"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to review"),
        (("nowhere.py",), "no file or folder"),
        ((".", "--fail-on", "3"), "between 0 and 1"),
        ((".", "--strictness", "nan"), "strictness is nan"),
        ((".", "--strictness=-inf"), "strictness is -inf"),
    ],
)
def test_bad_input_is_one_sentence(command, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]):
    assert command(*words) == 2
    assert said in capsys.readouterr().err
