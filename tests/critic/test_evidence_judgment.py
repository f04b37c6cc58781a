"""What is right is left in peace, however it is worded; what is wrong is found, whatever kind of function it is in."""

from pathlib import Path

import pytest

from custodes.critic.review.findings import Review
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.running import RunOptions

EVERYTHING = ReviewOptions(strictness=9)
RIGHT = '''
import functools, json, sys
from datetime import datetime
from random import randint
from typing import Hashable

ITEMS, COUNTS = [], {}
if sys.platform == "nowhere":
    import winreg


def timed(f):
    @functools.wraps(f)
    def inner(*given, **named):
        return f(*given, **named), 0.5
    return inner


# another situation than that of the run

def div(a, b):
    """True division. In Python 2, div(1, 2) returns 0."""
    return a / b


def wrapped(n):
    """Doubles. In the mode of old systems,
    wrapped(2) returns 5.
    """
    return 2 * n


def flag(text, strict=False):
    """Whether a text means yes. With strict=True, flag('maybe') raises ValueError."""
    if strict and text not in ("yes", "no"):
        raise ValueError(text)
    return text == "yes"


def first_of(items: list[int], strict: bool = False):
    """The first item. Returns 0 for an empty list if strict is set."""
    if not items and strict:
        return 0
    return items[0] if items else None


def cells(text: str) -> list:
    """Values of a row; returns 0 for empty string cells."""
    return [cell or 0 for cell in text.split(",")]


# what a docstring says of another thing, or of one case

def rotate(items: list[int]) -> None:
    """Rotate to the left, in place. Does not change the list's length."""
    if items:
        items.append(items.pop(0))


def put(a: list[int], order: int) -> None:
    """Put it in. Does not change a sorted list's order, and leaves order unchanged."""
    a.append(order)


def take(table: dict[str, int], key: str):
    """Take a value out. If the key is missing, the given dict is unchanged."""
    return table.pop(key, None)


def next_job(queue: list[str]) -> str:
    """Takes the first job off the queue and returns a copy of its name."""
    return str(queue.pop(0)) if queue else ""


# orders that are not the numbers'

def version_sort(versions: list[str]) -> list[str]:
    return sorted(versions, key=lambda v: [(len(p), p) for p in v.split(".")])


def ranking(scores: list[int]) -> list[int]:
    """Returns a sorted list of the scores, best to worst."""
    return sorted(scores, reverse=True)


def sort_and_limit(rows: list[int]) -> list[int]:
    """Sort them, and cut them to the size of a page."""
    return sorted(rows)[:3]


# names that are there elsewhere, results that may differ

def greeting(name: str) -> str:
    return _("Hello") + name


def registry_key(name: str) -> str:
    return winreg.Open(name)


def dice(sides: int) -> int:
    return randint(1, 10**9) + sides


def stamp(name: str) -> str:
    return f"{name} {datetime.utcnow().isoformat()}"


def remember(name: str) -> int:
    """Keep a name; return how many there are."""
    ITEMS.append(name)
    return len(ITEMS)


def number(prefix: str) -> int:
    return _counted(prefix)


def _counted(prefix):
    COUNTS[prefix] = COUNTS.get(prefix, 0) + 1
    return COUNTS[prefix]


@timed
def total(values: list[int]) -> int:
    return sum(values)


def key_of(name: str) -> Hashable:
    return name or None


# what loses something, or is named like the library and is something else

def pack(values: list[float]) -> str:
    """As text. Lossy: two digits are kept."""
    return ";".join(f"{v:.2f}" for v in values)


def unpack(text: str) -> list[float]:
    return [float(part) for part in text.split(";") if part]


def minutes_to_hours(minutes: int) -> int:
    """Whole hours."""
    return minutes // 60


def hours_to_minutes(hours: int) -> int:
    return hours * 60


def median(values: list[int]) -> int:
    """The upper median."""
    return sorted(values)[len(values) // 2]


def reverse_text(text: str) -> str:
    """The words in reverse order."""
    return " ".join(text.split()[::-1])


def normalize_pixel(value: int) -> float:
    return value / 255


def sanitize(text: str) -> str:
    """
    >>> sanitize('a & b')
    'a &amp; b'
    """
    return text.replace("&", "&amp;")


# loosely written examples

def spread(values: list[int]) -> dict:
    """
    >>> spread([1, 2])
    {'low':   1,
     'high':  2}
    >>> spread([3])  # doctest: +IGNORE_OUTPUT
    whatever
    """
    return {"low": min(values), "high": max(values)}


def peeked(items):
    """
    >>> p = peeked([1])
    >>> if p:  # it has items
    ...     list(p)
    [1]
    >>> for n in p:
    ...     print(n)
    1
    """
    return tuple(items)


class Stream:
    def number(self) -> int:
        """To be written by others."""

    def name(self) -> str: ...

    @property
    def size(self) -> int:
        pass


class Box:
    """
    >>> len(Box(2))
    2
    >>> Box(2).size
    2
    """

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    @property
    def size(self) -> int:
        return self.n


async def half(n: int) -> float:
    """
    >>> import asyncio
    >>> asyncio.run(half(3))
    1.5
    """
    return n / 2


def root(x: float) -> float:
    """Raises ValueError if x is negative."""
    if x < 0:
        raise ValueError(x)
    return x**0.5
'''
WRONG = '''
import asyncio
from typing import Iterator


def joined(words: list[str]) -> str:
    """
    >>> joined(['a', 'b'])
    'a b'
    """
    return "".join(words)


def indented(text: str) -> str:
    """
    >>> indented('x')
    '  x'
    """
    return " " + text


def amount(text: str):
    """
    >>> amount(' 12 ')
    12
    """
    return text.strip()


def bare(text: str) -> str:
    """
    >>> bare('"a"')
    'a'
    """
    return text


def report(n: int) -> None:
    """
    >>> report(3)
    n = 3
    """
    print("n =", n + 1)


def shares(values: list[float]) -> list[float]:
    """
    >>> shares([1, 3])  # doctest: +NUMBER
    [0.25, 0.75]
    """
    return [v / max(values) for v in values]


def after_a_bad_block(n: int) -> int:
    """
    >>>1
    1

    >>> after_a_bad_block(1)
    2
    """
    return n


def no_tail(items: list[int]) -> list[int]:
    """Without the last two. Returns None for an empty list."""
    return items[:-2]


class Span:
    """
    >>> len(Span(1, 3))
    2
    >>> 3 in Span(1, 3)
    False
    >>> Span(1, 3).width
    2
    >>> list(Span(1, 3))
    [1, 2]
    >>> Span(1, 3) == Span(1, 3)
    True
    """

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end

    def __len__(self) -> int:
        return self.end

    def __contains__(self, n: int) -> bool:
        return self.start <= n <= self.end

    @property
    def width(self) -> int:
        return 0

    def __iter__(self) -> Iterator[int]:
        return iter([self.start])

    def __eq__(self, other: object) -> bool:
        return self is other


def takes_in(text: str) -> int:
    """
    Write what takes in a text with letters
    takes_in('ab') -> 2
    """
    return len(text) + 1


async def doubled(n: int) -> int:
    """
    >>> asyncio.run(doubled(2))
    4
    """
    return n + n + 1


class Sized:
    def __init__(self, n: int) -> None:
        self.n = n

    @property
    def label(self) -> str:
        return self.n

    def __str__(self) -> str:
        return missing_name

    def __len__(self) -> int:
        return max(0, self.n)

    @property
    def sound(self) -> int:
        return self.n


async def names(n: int) -> list[str]:
    return n


def square_root(x: float) -> float:
    """The root.

    Raises:
        ValueError: If x is negative.
    """
    return abs(x) ** 0.5


def ordered(values: list[int]) -> list[int]:
    """Return the values in ascending order."""
    return list(values)


def cleaned(values: list[int]) -> list[int]:
    """Drop zeros. Leaves values unchanged."""
    while 0 in values:
        values.remove(0)
    return values


def shifted(text: str) -> str:
    return "".join(chr(ord(c) + 1) for c in text)


def unshifted(text: str) -> str:
    """Inverse of shifted."""
    return "".join(chr(max(0, ord(c) - 2)) for c in text)
'''
FOUND = {
    "joined", "indented", "amount", "bare", "report", "shares", "after_a_bad_block", "no_tail", "Span.__len__",
    "Span.__contains__", "Span.width", "Span.__iter__", "Span.__eq__", "takes_in", "Sized.label", "Sized.__str__", "doubled", "names", "square_root", "ordered", "cleaned",
    "unshifted",
}  # fmt: skip


def reviewed(folder: Path, options: ReviewOptions = EVERYTHING, **texts: str) -> Review:
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    files = [str(folder / f"{name}.py") for name in texts]
    return review(files, None, options, run=RunOptions(inputs=40, seconds=4))


def test_what_is_right_is_left_in_peace(tmp_path: Path):
    found = reviewed(tmp_path, ReviewOptions(), right=RIGHT)
    assert [f.message for f in found.findings] == []
    assert {r.name for r in found.runs if r.ran} >= {"Box.__len__", "Box.size", "half", "sanitize"}


def test_what_is_wrong_is_found_in_every_kind_of_function(tmp_path: Path):
    found = reviewed(tmp_path, wrong=WRONG)
    assert {f.name for f in found.findings} >= FOUND
    tests = {f.name: f.evidence.test for f in found.findings if f.evidence}
    assert "assert no_tail([]) is None" in tests["no_tail"]  # and no bool(...), which None would not pass
    assert "asyncio.run(names(" in tests["names"]
    assert "def test_span_len():" in tests["Span.__len__"]
    assert "Sized(0).label)" in tests["Sized.label"]
    assert not {"Sized.__len__", "Sized.sound"} & {f.name for f in found.findings}


def test_a_function_that_takes_all_memory_takes_no_other_with_it(tmp_path: Path):
    hungry = "def hungry(n: int) -> int:\n    '''\n    >>> hungry(3)\n    3\n    '''\n    return len(bytearray(3 * 10**9)) and n\n"
    wrong = "def wrong(n: int) -> int:\n    '''\n    >>> wrong(3)\n    4\n    '''\n    return n\n"
    found = reviewed(tmp_path, both=f"{hungry}\n\n{wrong}")
    assert [f.name for f in found.findings] == ["wrong"]
    assert {r.name: r.reason for r in found.runs} == {"hungry": "it takes more memory than there is", "wrong": ""}


@pytest.mark.parametrize("name", ["class", "with-dash", "1st", "it's", "with space"])
def test_a_file_that_no_import_statement_can_name_has_a_test_that_fails_where_it_stands(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    found = reviewed(tmp_path, **{name: "def f(x):\n    '''\n    >>> f(1)\n    2\n    '''\n    return x\n"})
    (only,) = found.findings
    assert only.evidence is not None
    monkeypatch.syspath_prepend(tmp_path)
    scope: dict = {}
    exec(only.evidence.test, scope)
    with pytest.raises(AssertionError):
        scope["test_f"]()


def test_functions_of_a_file_that_does_not_parse_are_told(tmp_path: Path):
    found = reviewed(tmp_path, part="def f(:\n    pass\n\n\ndef g(x):\n    return x\n")
    assert [(r.name, r.ran, r.reason) for r in found.runs] == [("g", False, "its file does not parse")]


REACHING = '''
import os
import subprocess


def first_line(text: str) -> str:
    """
    >>> first_line('a')
    'b'
    """
    with open("kept", "w") as file:
        file.write(text)
    return open("kept").read()


def said(n: int) -> str:
    """
    >>> said(1)
    '2'
    """
    return subprocess.check_output(["echo", str(n)], text=True).strip()


def there() -> bool:
    """
    >>> there()
    False
    """
    return os.path.exists("kept") or bool(os.listdir("."))
'''


@pytest.mark.parametrize(
    ("allow", "found", "reasons"),
    [
        ((), set(), {"first_line": "it opens files", "said": "it starts processes", "there": "it lists folders"}),
        (("files",), {"first_line"}, {"first_line": "", "said": "it starts processes", "there": ""}),
        (("files", "processes"), {"first_line", "said"}, {"first_line": "", "said": "", "there": ""}),
    ],
)
def test_files_and_processes_are_reached_for_where_that_is_allowed(tmp_path: Path, allow, found, reasons):
    (tmp_path / "reaching.py").write_text(REACHING)
    options = RunOptions(inputs=10, seconds=2, allow=allow)
    told = review([str(tmp_path / "reaching.py")], None, EVERYTHING, run=options)
    assert {f.name for f in told.findings} == found
    assert {r.name: r.reason for r in told.runs} == reasons
    assert not (tmp_path / "kept").exists()
