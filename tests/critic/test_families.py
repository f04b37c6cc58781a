"""Functions with what breaks them: several bugs in one copy stand where they say."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from custodes.critic.families import Family, FamilyChange, KnownBug, _changed, families_of
from custodes.critic.suspicions import SUSPICIONS
from custodes.critic.tamper import OPERATORS, candidates, tamper

CODE = "def f(xs):\n    best = 0\n    for x in xs:\n        if x < best:\n            best = x\n    total = 1\n    count = len(xs)\n    return best"


def rows() -> list[tuple[str, KnownBug]]:
    found = [("f", KnownBug(CODE))]
    for edit in candidates(CODE, 40):
        made = tamper(CODE, [edit])
        bug = made.bugs[0]
        found.append(("f", KnownBug(made.code, bug.lines, (bug.operator,) * len(bug.lines))))
    return found


def test_each_row_comes_back_from_its_change() -> None:
    (family,) = families_of(rows())
    whole = [_changed(CODE, [change]) for change in family.changes] + list(family.rows)
    assert {(b.code, b.lines, b.kinds) for b in whole} == {(b.code, b.lines, b.kinds) for _, b in rows()[1:]}
    assert len(family.changes) > len(rows()) / 2


@given(st.integers(0, 10_000))
def test_what_is_drawn_together_is_what_stands_in_the_code(seed: int) -> None:
    (family,) = families_of(rows())
    drawn = family.draw(str(seed), clean=0.2, alone=0.3)
    assert drawn == family.draw(str(seed), clean=0.2, alone=0.3)
    known = {(CODE.split("\n")[c.first], *c.text) for c in family.changes if c.end > c.first}
    lines, old = drawn.code.split("\n"), CODE.split("\n")
    assert len(drawn.kinds) == len(drawn.lines)
    if len(lines) == len(old):  # nothing came or went: what differs is wrong, and only that
        differs = {k for k, (a, b) in enumerate(zip(old, lines, strict=True), 1) if a != b}
        assert differs <= set(drawn.lines)
        assert all((old[k - 1], lines[k - 1]) in known for k in differs if len(drawn.lines) == len(differs))


def test_shares_are_kept() -> None:
    (family,) = families_of(rows())
    drawn = [family.draw(f"{i}", clean=0.3, alone=0.3) for i in range(600)]
    assert 0.2 < sum(not d.lines for d in drawn) / 600 < 0.4
    assert any(len(set(d.kinds)) > 1 for d in drawn)


def test_changes_that_touch_are_not_put_together() -> None:
    one, two, far = FamilyChange(1, 2, ("a",), (0,)), FamilyChange(2, 3, ("b",), (0,)), FamilyChange(3, 4, ("c",), (0,))
    assert not one.is_apart(two)
    assert one.is_apart(far)
    assert _changed("0\n1\n2\n3", [far, one]).code == "0\na\n2\nc"


def test_rows_without_a_clean_one_stay_as_they_are() -> None:
    bug = KnownBug("a\nb", (2,))
    (family,) = families_of([("g", bug)])
    assert family == Family(rows=(bug,))
    assert family.draw("0", 0.5, 0.5) == bug


def test_lines_that_went_are_seen_beside_the_gap() -> None:
    code = "\n".join(f"line {i}" for i in range(6))
    gone = "\n".join(f"line {i}" for i in range(6) if i != 3)
    (family,) = families_of([("f", KnownBug(code)), ("f", KnownBug(gone, (3, 4), ("x", "x")))])
    assert _changed(code, family.changes) == KnownBug(gone, (3, 4), ("x", "x"))
    elsewhere = FamilyChange(0, 1, ("new", "newer"), (0,), "y")
    assert _changed(code, [*family.changes, elsewhere]).lines == (1, 4, 5)


def test_every_operator_has_its_words() -> None:
    assert set(SUSPICIONS) == set(OPERATORS)
    assert random.Random(0).choice(sorted(SUSPICIONS.values())).endswith((".", "`."))
