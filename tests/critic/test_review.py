"""Files become findings, whatever the files are like; what is known, ignored, unchanged or impossible is told apart."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from review_data import CODE, INJECTIONS, LineCritic, SayingEngine
from rich.console import Console

from custodes.cli import main
from custodes.critic.critique import Place
from custodes.critic.review import (
    FORMATS,
    LikelihoodCritic,
    Review,
    ReviewOptions,
    SampledCritic,
    Snippet,
    find_files,
    read_baseline,
    review,
    write_baseline,
)
from custodes.critic.review.critics import EngineDied
from custodes.critic.review.diffs import changed_lines
from custodes.critic.review.question import OPENING, plain, task_of
from custodes.critic.review.screen import show
from custodes.critic.review.snippets import ignored_lines, read_text, snippets_of
from custodes.lm import load
from custodes.recipes import critique as recipe
from custodes.recipes.critique import exit_code
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
    assert "lines 12 to 17 do not parse" in problem.message


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


def test_a_critique_that_quotes_nothing_gives_no_finding(file: str):
    critic = SampledCritic(SayingEngine("This code has many bugs, all over."), "says")
    assert review([file], critic, ReviewOptions(strictness=9)).findings == []


@pytest.mark.parametrize("place", ["    for i", "def last"])
def test_a_comment_silences_its_line_or_its_function(tmp_path: Path, place: str):
    lines = [f"{line}  # custodes: ignore" if line.startswith(place) else line for line in CODE.split("\n")]
    (tmp_path / "f.py").write_text("\n".join(lines))
    result = review([str(tmp_path / "f.py")], LineCritic(), DEFAULT)
    assert (result.findings, result.hidden) == ([], 1)
    assert ignored_lines(CODE) == set()


def test_a_baseline_hides_what_is_known_wherever_it_moves(file: str, tmp_path: Path):
    found = review([file], LineCritic(), DEFAULT).findings
    write_baseline(tmp_path / "known.json", found)
    Path(file).write_text("# a new line\n" + CODE + "y = 3 - 1\n")
    result = review([file], LineCritic(), DEFAULT, known=read_baseline(tmp_path / "known.json"))
    assert [f.quote for f in result.findings] == ["y = 3 - 1"]
    assert result.hidden == 1
    with pytest.raises(InputError, match="--write-baseline"):
        read_baseline(tmp_path / "none.json")


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
    assert exit_code(result, None) == 2
    critic = LineCritic()
    assert len(review(files, critic, DEFAULT, tmp_path / "cache").findings) == 4
    assert len(critic.asked) == 2


def test_an_endpoint_without_answers_is_dead():
    with pytest.raises(EngineDied):
        SampledCritic(SayingEngine("", fails=True), "x").review(Snippet("f.py", 1, "x = 1", "module"))


# ---------------------------------------------------------------- changed lines


def test_a_diff_restricts_findings_to_changed_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(
            ["git", *who, *words], check=True, capture_output=True, env={**os.environ, "GIT_CONFIG_GLOBAL": ""}
        )

    git("init", "-q")
    Path("f.py").write_text(CODE)
    Path("same.py").write_text(CODE)
    git("add", ".")
    git("commit", "-qm", "first")
    Path("f.py").write_text(CODE.replace("size = 3", "size = 3 - 1"))
    assert changed_lines("HEAD", []) == {"f.py": {13}}
    critic = LineCritic()
    result = review(["f.py"], critic, DEFAULT, changed=changed_lines("HEAD", []))
    assert [f.line for f in result.findings] == [13]
    assert [s.name for s in critic.asked] == ["module"]
    with pytest.raises(InputError, match="git cannot say"):
        changed_lines("nonsense", [])
    with pytest.raises(InputError, match="no revision"):
        changed_lines("--output=x", [])


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
    from custodes.critic.review import Reviewed

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
    assert sum(r.confidence for r in remarks) == pytest.approx(
        tiny._quote_or_not(task_of(SNIPPET, tiny.words), OPENING), rel=1e-4
    )
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
    assert plain("a\x1b[31m\u202eb\nc") == "a[31mb c"


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(recipe, "open_critic", lambda choice, strictness, answers: LineCritic())

    def run(*words: str) -> int:
        return main(["critique", *words])

    return run


def test_exit_codes_are_those_of_a_check(command, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command(file) == 0
    assert command(file, "--fail-on", "0.5") == 1
    assert command(file, "--fail-on", "0.95") == 0
    (tmp_path / "broken.py").write_text("def f(:\n")
    assert command(str(tmp_path / "broken.py"), file) == 2
    assert "do not parse" in capsys.readouterr().err


def test_json_on_the_command_line_is_json_alone(command, file: str, capsys: pytest.CaptureFixture[str]):
    assert command(file, "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["line"], row["end_line"], row["confidence"]) == (7, 7, 0.9)


def test_a_baseline_is_written_and_used(command, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    known = str(tmp_path / "known.json")
    assert command(file, "--write-baseline", known) == 0
    assert command(file, "--baseline", known, "--fail-on", "0") == 0


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
    ],
)
def test_bad_input_is_one_sentence(command, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]):
    assert command(*words) == 2
    assert said in capsys.readouterr().err
