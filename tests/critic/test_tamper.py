"""Operators make bugs that parse and differ; what is kept breaks a test that passed."""

import ast
import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_package import tiny_package

from custodes.critic.corpus import CoverageLimits, Function, cover, extract
from custodes.critic.examples import Bug, BugExample, example_from, read_bug_examples, write_json_lines
from custodes.critic.sources import TEST_TOOLS, library_of_host
from custodes.critic.tamper import HELD_OUT_OPERATORS, OPERATORS, Edit, Scene, candidates, tamper
from custodes.critic.tamper import make as making
from custodes.critic.tamper.bugs import _line_at, apart, program
from custodes.critic.tamper.make import (
    HELD_OUT_PACKAGES,
    TamperOptions,
    _allowed,
    _split_of,
    _try_chunk,
    chunks_of,
    clean,
    trusted,
    untested,
)
from custodes.critic.tamper.scene import edits
from custodes.critic.workshop import LIMITS, Workshop
from custodes.environments.sandbox import open_sandbox
from custodes.job.parts import Parts
from custodes.types import InputError

EVERYTHING = '''def work(self, items, limit=None, start=0, table=None, *, deep=True):
    """Do it.

    Twice.
    """
    # a comment that stays
    if table is None:
        table = {}
    seen, last = set(), -1
    best = 0
    done = True
    for i in range(1, len(items) - 1):
        a, b = items[i], items[i - 1]   # odd   spacing stays
        if not deep:
            continue
        if a < b and (limit is None or a != limit):
            seen.add(a)
            best += a * 2
        elif a in seen:
            best = max(a, b)
            break
        else:
            self.count -= 1
            self.other = self.count
    for n, item in enumerate(items):
        table.setdefault(item, n)
    try:
        last = table.get("key", 0) // best
    except KeyError:
        raise ValueError("no") from None
    best = -last if deep else best
    found = [x for x in sorted(items[1:best]) if x % 2 == 0]
    while best:
        best = find(found, last, key="other")
        last = last + 1
    for x in found:
        log(x)
    return last
'''


def changes(code: str, name: str) -> list[tuple[str, Edit]]:
    return [(e.apply(code), e) for e in edits(Scene(code), [OPERATORS[name]])]


def test_there_are_enough_operators_and_each_is_said_in_words():
    assert len(OPERATORS) >= 25
    assert len(HELD_OUT_OPERATORS) == 4
    assert set(OPERATORS) > HELD_OUT_OPERATORS
    assert all((o.make.__doc__ or "").endswith(".") for o in OPERATORS.values())


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_finds_something_here(name: str):
    made = changes(EVERYTHING.replace("n, item in enumerate(items)", "n, item in enumerate(list(items.copy()))"), name)
    if name == "return_in_loop":
        assert any("        return last\n    return last" in code for code, _ in made)
    assert made
    for code, edit in made:
        assert program(code) not in ("", program(EVERYTHING)), (name, edit)
        assert code.count("# a comment that stays") == 1
        assert "Twice." in code
        assert len(edit.description) > 30
        assert edit.description.endswith(".")


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("comparison_boundary", "return n < m", "return n <= m"),
        ("range_bound", "return range(n + 1)", "return range(n)"),
        ("slice_bound", "return n[1:]", "return n[2:]"),
        ("swapped_choice", "return (n, 1) if m else n", "return n if m else (n, 1)"),
        ("dropped_not", "return not (n and m)", "return (n and m)"),
        ("dropped_copy", "return list(n)", "return n"),
        ("wrong_exception", "try: n()\n    except KeyError: return m", "try: n()\n    except IndexError: return m"),
        ("swapped_arguments", "return f(n, m, x=1)", "return f(m, n, x=1)"),
        ("dropped_fallback", "return n.get(m, 0)", "return n.get(m)"),
        ("dropped_filter", "return [x for x in n if (x > m)]", "return [x for x in n]"),
        ("break_continue", "while n:\n        break", "while n:\n        continue"),
    ],
)
def test_an_operator_does_what_it_says(name: str, before: str, after: str):
    head = "def f(n, m):\n    "
    assert head + after + "\n" in [code for code, _ in changes(head + before + "\n", name)]


def test_the_wrong_variable_is_one_that_has_a_value_there():
    code = "def f(first):\n    total = first\n    later = total\n    return later\n"
    wrong = {code.split("\n")[1] for code, _ in changes(code, "wrong_variable")}
    assert wrong == {"    total = first"}  # nothing else is bound on this line
    assert "    later = first" in {c.split("\n")[2] for c, _ in changes(code, "wrong_variable")}
    loop = "def g(items, size):\n    for item in items:\n        use(item)\n    return size\n"
    assert "        use(size)" in {c.split("\n")[2] for c, _ in changes(loop, "wrong_variable")}
    assert not any("in item:" in c for c, _ in changes(loop, "wrong_variable"))


def test_descriptions_name_what_is_wrong():
    (made,) = [e for c, e in changes("def f(n):\n    return sum(range(n))\n", "range_bound") if "n - 1" in c]
    assert made.description == "The range ends at `n - 1` instead of `n`: the last one is never reached."


def test_bug_lines_are_those_of_the_tampered_code():
    for edit in candidates(EVERYTHING, 10_000):
        made = tamper(EVERYTHING, [edit])
        (bug,) = made.bugs
        lines = made.code.split("\n")
        assert all(1 <= n < len(lines) for n in bug.lines), edit
        if edit.text.strip():
            assert edit.text.strip().split("\n")[0] in "\n".join(lines[n - 1] for n in bug.lines)
        else:
            assert abs(bug.lines[0] - _line_at(EVERYTHING, edit.start)) <= 1


def test_candidates_take_turns_are_the_same_again_and_can_be_told_where():
    some = candidates(EVERYTHING, 20)
    assert some == candidates(EVERYTHING, 20)
    assert some != candidates(EVERYTHING, 20, seed=1)
    assert len({e.operator for e in some}) == 20
    assert {_line_at(EVERYTHING, e.start) for e in candidates(EVERYTHING, 99, lines=[10])} == {10}
    with pytest.raises(InputError, match="one function"):
        candidates("x = 1\n", 3)


@given(st.integers(0, 10**9))
@settings(max_examples=25)
def test_several_bugs_each_stand_on_their_own_lines(seed: int):
    first, *rest = random.Random(seed).sample(EDITS, len(EDITS))
    chosen = [first]
    for edit in rest:
        if len(chosen) < 3 and all(apart(edit, other, EVERYTHING) for other in chosen):
            chosen.append(edit)
    made = tamper(EVERYTHING, chosen)
    lines = made.code.split("\n")
    assert len(made.bugs) == len(chosen) == 3
    for edit, bug in zip(sorted(chosen, key=lambda e: e.start), made.bugs, strict=True):
        if edit.text.strip():
            assert edit.text.strip().split("\n")[0] in "\n".join(lines[n - 1] for n in bug.lines)


EDITS = candidates(EVERYTHING, 200)


# ---------------------------------------------------------------- proved by tests


@pytest.fixture(scope="module")
def functions(sandboxes: None, tmp_path_factory: pytest.TempPathFactory) -> list[Function]:
    package = tiny_package()
    return cover(package, extract(package), Parts(tmp_path_factory.mktemp("parts")), CoverageLimits())


@pytest.fixture(scope="module")
def made(functions: list[Function]) -> making.Made:
    (chunk,) = chunks_of(functions).values()
    with Workshop(tiny_package()) as workshop:
        return _try_chunk(workshop, chunk, TamperOptions(per_function=30, several=1.0))


def test_what_is_kept_breaks_a_test_when_it_is_really_written_into_the_file(
    made: making.Made, functions: list[Function], sandboxes: None
):
    """Not by exchange in a warm process: the file itself is changed, and the test is run by pytest."""
    by_id = {f.id: f for f in functions}
    package = tiny_package()
    example = next(e for e in made.examples if "/" in e.unit and e.qualname == "clip")
    before = package.sources["tiny/small.py"].decode()
    after = before.replace(by_id[example.function].code, example.code)
    assert after != before
    files = {f"src/{path}": content for path, content in package.files.items()} | library_of_host(TEST_TOOLS)
    with open_sandbox({**files, "after.py": after}, limits=LIMITS) as sandbox:
        run = f"PYTHONPATH=lib python3 -m pytest -q -p no:cacheprovider --rootdir=src 'src/{example.unit}'"
        assert sandbox.run(run).returncode == 0
        assert sandbox.run(f"cp after.py src/tiny/small.py; {run}").returncode == 1


def test_changes_that_no_test_notices_are_left_out(made: making.Made):
    assert 0 < made.kept.total() < made.tried.total()
    assert all(e.verified == "test" and e.unit and e.message for e in made.examples)
    assert not any(
        "high=LIMIT" not in e.code for e in made.examples if e.qualname == "clip" and "dropped" in e.bugs[0].operator
    )


def test_a_loop_that_never_ends_counts_as_noticed(made: making.Made):
    endless = [e for e in made.examples if e.qualname == "forever" and e.message == "it does not end in time"]
    assert endless


def test_methods_with_super_and_changed_defaults_can_be_tampered_with(made: making.Made):
    names = {e.qualname for e in made.examples}
    assert {"Counter.__init__", "Counter.up", "Base.__init__"} <= names
    assert any(b.operator == "changed_default" for e in made.examples for b in e.bugs)


def test_several_bugs_are_tried_together(made: making.Made):
    both = [e for e in made.examples if len(e.bugs) > 1]
    assert both
    assert all(set(e.bug_lines) == {n for b in e.bugs for n in b.lines} for e in both)


def test_training_functions_take_no_held_out_operators(functions: list[Function], made: making.Made):
    for f in functions:
        names = _allowed(f, OPERATORS)
        if _split_of(f, ()) == "train":
            assert not set(names) & HELD_OUT_OPERATORS
    for e in made.examples:
        assert e.split != "train" or not {b.operator for b in e.bugs} & HELD_OUT_OPERATORS
    assert len(HELD_OUT_PACKAGES) == 2


def test_untested_functions_get_trusted_operators_and_say_so(functions: list[Function], made: making.Made):
    operators = trusted(made, 0.5)
    names, options = ["number_off_by_one", "wrong_variable"], TamperOptions()
    rows = [row for f in functions for row in untested(f, names, options)]
    assert all(made.tried[name] >= 10 for name in operators)
    assert {(e.qualname, e.verified, e.unit) for e in rows} == {("nobody", "operator", "")}


def test_clean_examples_have_no_bug_and_files_are_read_back(
    functions: list[Function], made: making.Made, tmp_path: Path
):
    rows = [*made.examples, *clean(functions, 3, 0)]
    assert [e.bug_lines for e in rows[-3:]] == [(), (), ()]
    write_json_lines(tmp_path / "examples.jsonl", rows)
    assert read_bug_examples(tmp_path / "examples.jsonl") == rows
    odd = [replace(rows[0], message="UnicodeEncodeError: 'é\udc80'")]
    write_json_lines(tmp_path / "odd.jsonl", odd)
    assert read_bug_examples(tmp_path / "odd.jsonl") == odd
    assert all(isinstance(ast.parse(e.code).body[0], ast.FunctionDef) for e in rows)


def test_an_interrupted_run_keeps_its_chunks(
    functions: list[Function], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(making, "CHUNK", 4)
    monkeypatch.setattr(making, "package_named", lambda name, kind: tiny_package())
    options, seen = TamperOptions(per_function=3), []
    whole = making.try_all(functions, Parts(tmp_path / "whole"), options, workers=2)

    def stop(chunk: object) -> None:
        seen.append(chunk)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        making.try_all(functions, Parts(tmp_path / "parts"), options, workers=1, on_chunk=stop)
    assert list((tmp_path / "parts").glob("*.json"))
    again = making.try_all(functions, Parts(tmp_path / "parts"), options, workers=1)
    assert {e.id for e in again.examples} == {e.id for e in whole.examples}
    assert again.kept == whole.kept


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="several is 2"):
        TamperOptions(several=2)


def test_a_row_that_was_not_written_and_read_keeps_its_operators():
    bugs = (Bug("wrong_variable", (1,), "The wrong variable.", "return a"),)
    row = BugExample("id", "return b", (1,), "The wrong variable.", bugs, "test", "train", "f")
    assert example_from(asdict(row)) == row
    assert example_from(json.loads(json.dumps(asdict(row)))) == row
