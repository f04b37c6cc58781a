"""Functions are run in the sandbox; what breaks an example or a promise is found, and what is right is left in peace."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from custodes.cli import main
from custodes.critic.jobs.critique import CritiqueCode, critique
from custodes.critic.review.editor import in_markdown
from custodes.critic.review.evidence import FunctionRun, frontier_score, runs_in_words
from custodes.critic.review.findings import Review, show, summary
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.formats import FORMATS
from custodes.critic.review.running import RunOptions

SCHEMA = json.loads((Path(__file__).parent / "sarif_schema" / "sarif-2.1.0-rtm.5.json").read_text())
EVERYTHING = ReviewOptions(strictness=9)
WRONG = '''
"""Wrong functions, and one that reads.

>>> twice(3)
6
"""
import helper_of_ours


def twice(x):
    return helper_of_ours.add(x, x + 1)


def last(items, count):
    """The last items.

    >>> last([1, 2, 3], 2)
    [2, 3]
    """
    return items[len(items) - count : len(items) - 1]


def digits(n):
    """Sum of digits: digits(12) -> 3, and digits(0) -> 0."""
    total = 0
    while n > 0:
        total += n % 10
        n //= 100
    return total


def nothing(xs):
    """
    >>> list(nothing([1]))
    [1]
    """
    sorted(xs)


def smallest(values):
    """The smallest value. Returns None for an empty list."""
    return min(values)


def area(width, height):
    """
    Input: width = 2, height = 3
    Output: 6
    """
    return width + height


def checked(n):
    """
    >>> checked(-1)
    Traceback (most recent call last):
    ValueError: negative
    """
    return n


def bubble_sort(numbers: list[int]) -> list[int]:
    for i in range(len(numbers)):
        for j in range(len(numbers) - 2):
            if numbers[j] > numbers[j + 1]:
                numbers[j], numbers[j + 1] = numbers[j + 1], numbers[j]
    return numbers


def collect(x: int, into=[]):
    into.append(x)
    return into


def find(xs: list[int], x: int) -> int:
    for i, y in enumerate(xs):
        if x == y:
            return i


def encode(text: str) -> str:
    return text.replace("a", "1").replace(" ", "_")


def decode(text: str) -> str:
    return text.replace("1", "a")


def gcd(a, b):
    """
    >>> gcd(12, 18)
    6
    """
    return a if b == 0 else gcd(b, a % b) + (a % 7 == 0)


def sorted_by_price(prices: list[float]) -> list[float]:
    return sorted(set(prices))


def factorial(n: int) -> int:
    """
    >>> factorial(5)
    120
    """
    return 1 if n == 1 else n * factorial(n - 1)


def without(xs: list[int], x: int) -> list[int]:
    """A new list without x. The input list is not modified."""
    if x in xs:
        xs.remove(x)
    return list(xs)


def branch(n: int) -> str:
    if n > 3:
        size = "large"
    return size


def wrong_example(n):
    """
    >>> wrong_example(2)
    4
    >>> wrong_example(2)
    5
    """
    return n * n


def reads(path: str) -> str:
    return open(path).read()


class Box:
    """
    >>> b = Box(3)
    >>> b.grow(2)
    5
    """

    def __init__(self, size):
        self.size = size

    def grow(self, by):
        self.size -= by
        return self.size
'''
RIGHT = '''
"""Right functions with loosely written examples."""
import random


def third(x):
    """
    >>> third(1)
    0.33
    """
    return x / 3


def pairs(xs):
    """
    pairs([1, 2]) == [[1, 2]], pairs([]) -> []
    """
    return zip(xs, xs[1:])


def name(n):
    """
    >>> name(1)
    one
    >>> name(2)
    "two"
    """
    return {1: "one", 2: "two"}[n]


def yes(n):
    """yes(2) => true, yes(3) => false. yes(x) -> y. Not: yes(2) -> False"""
    return n % 2 == 0


def unordered(xs):
    """
    >>> unordered(["b", "a", "c"])
    {'c', 'b', 'a'}
    """
    return set(xs)


def drawn(n: int) -> int:
    """
    >>> drawn(1000000)
    271828
    """
    return random.randrange(n)


def sort_by_length(words):
    """sort_by_length(["aaa", "b"]) -> ["b", "aaa"]"""
    return sorted(words, key=len)


def sorted_names(people):
    """Names, sorted and without duplicates: sorted_names(["b", "a"]) -> ["a", "b"]"""
    return sorted(set(people))


def index(xs, x):
    """
    >>> index([4, 5], 5)
    1
    """
    return xs.index(x)


def shout(text: str) -> None:
    """
    >>> shout("a")
    A
    """
    print(text.upper())
'''


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Review:
    folder = tmp_path_factory.mktemp("code")
    (folder / "wrong.py").write_text(WRONG)
    (folder / "right.py").write_text(RIGHT)
    (folder / "helper_of_ours.py").write_text("def add(a, b):\n    return a + b\n")
    files = [str(folder / "wrong.py"), str(folder / "right.py")]
    return review(files, None, EVERYTHING, run=RunOptions(inputs=30))


def test_each_kind_of_evidence_is_found(reviewed: Review):
    kinds = {(f.name, f.kind) for f in reviewed.findings if f.confidence >= 0.5 or f.kind == "wrong example"}
    examples = {"twice", "last", "digits", "smallest", "area", "checked", "Box.grow", "nothing"}
    assert {(name, "failing example") for name in examples} <= kinds
    broken = {"bubble_sort", "collect", "find", "encode", "gcd", "without", "branch", "sorted_by_price", "factorial"}
    assert {(name, "contradiction") for name in broken} <= kinds
    assert ("wrong_example", "wrong example") in kinds
    assert ("wrong_example", "failing example") not in kinds


def test_loose_examples_and_chance_raise_no_alarm(reviewed: Review):
    assert [f for f in reviewed.findings if f.file.endswith("right.py") and f.confidence >= 0.5] == []


def test_a_shrunk_input_both_values_and_the_promise_stand_in_the_finding(reviewed: Review):
    said = {
        f.name: f.evidence for f in reviewed.findings if f.evidence and f.kind == "contradiction" and f.confidence > 0.5
    }
    assert said["bubble_sort"].call == "bubble_sort([1, 0])"
    assert said["bubble_sort"].came == "[1, 0]"
    assert said["find"].call == "find([], 0)"
    assert "the annotation -> int" in said["find"].by
    branch = next(f for f in reviewed.findings if f.name == "branch")
    assert (branch.evidence.call, branch.quote.strip()) == ("branch(0)", "return size")  # type: ignore[union-attr]


def test_every_test_to_paste_fails_where_the_code_is(reviewed: Review, tmp_path: Path):
    folder = Path(reviewed.findings[0].file).parent
    tests = [f.evidence.test for f in reviewed.findings if f.evidence and f.confidence >= 0.5]
    code = "\n".join(f"def run():\n    pass\n{t}" for t in tests[:1])
    assert code
    for n, test in enumerate(tests):
        name = next(line for line in test.split("\n") if line.startswith("def ")).split("(")[0][4:]
        (tmp_path / f"{n}.py").write_text(f"{test}\ntry:\n    {name}()\nexcept Exception:\n    print('fails')\n")
    script = "import runpy, sys; sys.path.insert(0, sys.argv[1]); [runpy.run_path(p) for p in sys.argv[2:]]"
    paths = [str(tmp_path / f"{n}.py") for n in range(len(tests))]
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), *paths], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["fails"] * len(tests)


def test_what_was_not_run_is_said_with_its_reason(reviewed: Review):
    reasons = {run.name: run.reason for run in reviewed.runs if not run.ran}
    assert reasons["reads"] == "it opens files"
    assert "method" in reasons["Box.__init__"]
    ran = sum(run.ran for run in reviewed.runs)
    assert f"{ran} of {len(reviewed.runs)} functions were run" in summary(reviewed)


def test_evidence_stands_in_every_form(reviewed: Review):
    rows = json.loads(FORMATS["json"](reviewed))
    row = next(r for r in rows if r["name"] == "last")
    assert row["kind"] == "failing example"
    assert row["evidence"]["came"] == "[2]"
    assert row["evidence"]["promised"] == "[2, 3]"
    sarif = json.loads(FORMATS["sarif"](reviewed))
    jsonschema.Draft4Validator(SCHEMA).validate(sarif)
    steps = next(r for r in sarif["runs"][0]["results"] if "last(" in r["message"]["text"])["codeFlows"][0][
        "threadFlows"
    ][0]
    assert [s["location"]["message"]["text"].split(":")[0] for s in steps["locations"]][1:] == ["called", "came"]
    assert "def test_last():" in FORMATS["text"](reviewed)
    assert "%0Adef test_last():" in FORMATS["github"](reviewed)
    finding = next(f for f in reviewed.findings if f.name == "last")
    assert "- promised: `[2, 3]`" in in_markdown(finding)
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(reviewed, console)
    assert "a test to paste" in console.export_text()


def test_by_default_nothing_is_shown_without_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "code.py"
    file.write_text("def f(xs):\n    total = 0\n    for x in xs:\n        total -= x\n    return total\n")
    assert main(["critique", str(file), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["findings"] == []
    assert [(row["name"], row["ran"]) for row in printed["functions"]] == [("f", False)]


@pytest.mark.parametrize(
    ("words", "said"), [(("--inputs", "0"), "inputs is 0"), (("--seconds", "-1"), "seconds is -1")]
)
def test_bad_options_are_one_sentence(
    tmp_path: Path, words: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "code.py").write_text("x = 1\n")
    assert main(["critique", str(tmp_path / "code.py"), *words]) == 2
    assert said in capsys.readouterr().err


def test_runs_are_told_with_the_commonest_reason_first():
    runs = [
        FunctionRun("f.py", str(n), n, n == 0, "" if n == 0 else "it opens files" if n < 4 else "it is a test")
        for n in range(5)
    ]
    assert runs_in_words(runs) == "1 of 5 functions were run; 3 not: it opens files; 1 not: it is a test"
    assert frontier_score(0.5) == 0
    assert frontier_score(0.9) > 2 > frontier_score(0.8) > 1


STACK = '''
class Stack:
    def __init__(self, items: list[int]):
        self.items = items

    def top(self, other: int) -> int:
        if self.items:
            return self.items[-1]


def largest(xs):
    best = 0
    for x in xs:
        best = max(best, x)
    return best


def mean_of(xs: list[int]) -> float:
    return sum(xs) / max(1, len(xs))


def scaled(xs: list[int]) -> list[int]:
    """scaled([1, 2]) -> [2, 4], and scaled([0]) -> [1]"""
    return [2 * x for x in xs]
'''
TESTS = """
import pytest
from stack import largest


def test_largest():
    assert largest([1, 3, 2]) == 3


def test_largest_of_negatives():
    assert largest([-2, -1]) == -1


@pytest.mark.xfail
def test_later():
    assert largest([]) is None


def test_file():
    open("/etc/hostname-that-is-not-there")
"""


def test_methods_tests_and_versions_before_a_change_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True, capture_output=True
        )

    monkeypatch.chdir(tmp_path)
    (tmp_path / "stack.py").write_text(STACK)
    (tmp_path / "test_stack.py").write_text(TESTS)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    changed = (
        STACK.replace("best = 0", "best = 0  # the least")
        .replace("max(1, len(xs))", "len(xs)")
        .replace("2 * x ", "x + x ")
    )
    (tmp_path / "stack.py").write_text(changed)
    git("commit", "-qam", "Refactor for speed")
    command = CritiqueCode(diff="HEAD~1", tests=("test_stack.py",), cache=False)
    result = critique(command).review
    said = {(f.name, f.kind): f for f in result.findings}
    assert {("largest", "failing example"), ("mean_of", "difference")} <= set(said)
    assert ("scaled", "failing example") not in said
    assert "test_largest_of_negatives" in said["largest", "failing example"].message
    difference = said["mean_of", "difference"].evidence
    assert difference is not None
    assert (difference.call, difference.promised) == ("mean_of([])", "0.0, as before the change")
    assert 'the message "Refactor for speed"' in difference.by
    whole = review(["stack.py"], None, ReviewOptions(), run=RunOptions(inputs=20))
    top = next(f for f in whole.findings if f.name == "Stack.top")
    assert top.evidence is not None
    assert top.evidence.call == "Stack([]).top(0)"


@pytest.mark.parametrize("words", [("--tests", "nowhere"), ("--tests", "empty")])
def test_tests_that_are_not_there_are_one_sentence(
    tmp_path: Path, words: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "empty").mkdir()
    assert main(["critique", "code.py", *words]) == 2
    assert words[1] in capsys.readouterr().err


def test_the_review_in_the_readme_is_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text().split("## A review that runs the code", 1)[1]
    code, printed = (text.split(f"```{sort}\n", 1)[1].split("```", 1)[0] for sort in ("python", "text"))
    (tmp_path / "scores.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    assert main(["critique", "scores.py"]) == 0
    assert capsys.readouterr().out.strip() == printed.strip()


OPTIONAL = '''
def needs(rows: list[int]) -> int:
    """
    >>> needs([1, 2])
    3
    """
    import a_package_nobody_has

    return a_package_nobody_has.sum(rows)


def wrapped(rows: list[int]) -> int:
    """
    >>> wrapped([1, 2])
    3
    """
    try:
        import a_package_nobody_has
    except ImportError as error:
        raise RuntimeError("install it") from error
    return a_package_nobody_has.sum(rows)


def fallback(rows: list[int]) -> int:
    """
    >>> fallback([1, 2])
    3
    """
    try:
        import a_package_nobody_has
    except ImportError:
        return rows[0] + rows[2]
    return a_package_nobody_has.sum(rows)


def wrong_part(rows: list[int]) -> int:
    """
    >>> wrong_part([1, 2])
    3
    """
    import json.nothing

    return sum(rows)
'''


def test_a_package_that_is_not_installed_is_a_reason_and_no_finding(tmp_path: Path):
    """A bug in what is done without the package, and a part that a package does not have, are still found."""
    file = tmp_path / "optional.py"
    file.write_text(OPTIONAL)
    told = review([str(file)], None, EVERYTHING, run=RunOptions(inputs=5))
    reasons = {run.name: run.reason for run in told.runs}
    assert reasons["needs"] == reasons["wrapped"] == "it needs a_package_nobody_has, which is not installed here"
    assert reasons["fallback"] == reasons["wrong_part"] == ""
    assert {f.name for f in told.findings} == {"fallback", "wrong_part"}
