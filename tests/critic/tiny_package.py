"""A package of a few functions with tests and documented examples, as the corpus knows packages."""

from custodes.critic.sources import Package, _sources_of

SOURCE = '''"""Small things."""
LIMIT = 3


def clip(value, low=0, high=LIMIT):
    """The value, or the border that it is beyond.

    >>> clip(7)
    3
    """
    if value < low:
        return low
    if value > high:
        return high
    return value


def total(values):
    result = 0
    for value in values:
        result += value
    return result


def forever(values):
    count = 0
    while count < len(values):
        count += 1
    return count


def nobody(values):
    first = values[0]
    return first + 1


class Base:
    def __init__(self, start):
        self.start = start
        self.seen = []


class Counter(Base):
    def __init__(self, start):
        super().__init__(start)
        self.count = start + 1

    def up(self, by=1):
        self.count += by
        return self.count
'''
TESTS = """import unittest

import pytest

from tiny.small import Counter, clip, forever, total


@pytest.fixture
def numbers():
    return [1, 2, 3]


def test_total(numbers):
    assert total(numbers) == 6


@pytest.mark.parametrize("value", [-1, 0, 2])
def test_clip(value):
    assert clip(value) == max(value, 0)


def test_wrong():
    assert total([1]) == 2


def test_skipped():
    pytest.skip("not here")


class TestCounter(unittest.TestCase):
    def test_up(self):
        counter = Counter(1)
        self.assertEqual(counter.up(), 3)
        self.assertEqual(counter.seen, [])

    def test_forever(self):
        self.assertEqual(forever([1, 2]), 2)
"""


def tiny_package() -> Package:
    files = {
        "tiny/__init__.py": b"",
        "tiny/small.py": SOURCE.encode(),
        "tiny/tests/__init__.py": b"",
        "tiny/tests/test_small.py": TESTS.encode(),
    }
    return Package("tiny", "1", "MIT", "Do as you like.", "made here", files, _sources_of(files), imports=("tiny",))
