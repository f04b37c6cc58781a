from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import tyro

import custodes
from custodes.cli import commands, main
from custodes.cli import options as cli_options
from custodes.ranges import (
    LARGEST,
    AnyInt,
    Count,
    Positive,
    Range,
    Share,
    _above,
    _ranges_of,
    at_least,
    check_ranges,
    ranged,
)
from custodes.types import InputError, Sampling


def numbers(kind: type) -> list[tuple[str, Any]]:
    """(name, range) of every numeric option, those of nested dataclasses too."""
    hints, listed = get_type_hints(kind), list(_ranges_of(kind).items())
    for f in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[f.name]):
            listed += numbers(hints[f.name])
    return listed


def needed(kind: type) -> list[str]:
    """Some words for everything that has no default."""
    words: list[str] = []
    marked, hints = get_type_hints(kind, include_extras=True), get_type_hints(kind)
    for f in dataclasses.fields(kind):
        if f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING:
            continue
        hint = hints[f.name]
        if dataclasses.is_dataclass(hint):
            words += needed(hint)  # type: ignore[arg-type]
            continue
        choices = [str(c) for c in get_args(hint) if isinstance(c, str)]
        families = {"stage": "tool-flattery"}  # a plug-in is looked up before its options are read
        value = choices[0] if choices else "1" if hint in (int, float) else families.get(f.name, "somewhere")
        flag = "--" + f.name.replace("_", "-")
        positional = tyro.conf.Positional in getattr(marked[f.name], "__metadata__", ())
        words += [value] if positional else [flag, value]
    return words


COMMANDS = {name: listed.declared().flags for name, listed in commands().items()}


def test_every_command_is_walked_over() -> None:
    assert set(COMMANDS) == set(commands())
    assert sum(len(numbers(kind)) for kind in COMMANDS.values()) > 150


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_numbers_that_mean_nothing_are_refused_by_every_command_in_one_sentence(name: str) -> None:
    kind = COMMANDS[name]
    for i, (option, allowed) in enumerate(dict(numbers(kind)).items()):
        wrong = ["nan", "1e400", *(str(x) for x in (-1, 0) if not allowed.holds(x))]
        with pytest.raises(InputError) as refused:  # one of them each: a parse takes a while
            cli_options.parse_options(
                name, kind, [*needed(kind), f"--{option.replace('_', '-')}={wrong[i % len(wrong)]}"]
            )
        said = str(refused.value)
        assert option in said.replace("-", "_"), said
        assert "\n" not in said
        assert said.endswith(".")


def test_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quickstart", "--learning-rate", "nan"]) == 2
    assert "option learning_rate is nan; it must be 0 or more, and finite." in capsys.readouterr().err


def options_of_the_package() -> list[type]:
    """Every class that is decorated, anywhere."""
    root = Path(custodes.__file__).parent
    found = []
    for file in sorted(root.rglob("*.py")):
        if "@ranged\n" not in file.read_text():
            continue
        module = importlib.import_module(".".join(("custodes", *file.relative_to(root).with_suffix("").parts)))
        for thing in vars(module).values():
            if isinstance(thing, type) and dataclasses.is_dataclass(thing) and thing.__module__ == module.__name__:
                own = thing.__dict__.get("__post_init__")
                if own is not None and own.__qualname__.startswith("ranged."):
                    found.append(thing)
    return found


def test_options_are_checked_when_python_makes_them() -> None:
    checked = options_of_the_package()
    names = {kind.__name__ for kind in checked}
    assert names >= {
        "OptimiseConfig", "Sft", "Dpo", "Ipo", "RewardConfig", "Quickstart", "GamingRun",
        "GamingTrain", "CriticTune", "LineConfig", "SearchConfig", "TamperOptions", "AdapterConfig", "Sampling",
    }  # fmt: skip
    for kind in checked:
        given = {
            f.name: Path("somewhere")
            for f in dataclasses.fields(kind)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        }
        for option in _ranges_of(kind):
            for value in (float("nan"), float("inf"), float("-inf")):
                with pytest.raises(InputError, match=f"option {option} is"):
                    kind(**{**given, option: value})


@pytest.mark.parametrize(
    ("allowed", "told", "inside", "outside"),
    [
        (Range(), "finite", [-1e9, 0], []),
        (_above(0), "above 0", [1e-9], [0, -1]),
        (at_least(2), "2 or more", [2, 5], [1]),
        (Range(0, 1), "from 0 to 1", [0, 1], [-0.1, 1.1]),
        (Range(0, 1, open_high=True), "0 or more and below 1", [0, 0.9], [1]),
        (Range(0, 1, open_low=True), "above 0 and at most 1", [1, 0.1], [0]),
    ],
)
def test_a_range_says_what_it_holds(allowed: Range, told: str, inside: list[float], outside: list[float]) -> None:
    assert str(allowed) == told
    assert all(allowed.holds(x) for x in inside)
    assert not any(allowed.holds(x) for x in (*outside, float("nan"), float("inf")))


@dataclass(frozen=True, slots=True)
@ranged
class Options:
    count: Count = 1
    rate: Positive | None = None
    shares: tuple[Share, ...] = ()
    layer: AnyInt = -3
    plain: int = 0
    switch: bool = False
    word: Annotated[str, "no number"] = "nan"


@dataclass
class Outer:
    sampling: Sampling
    options: Options


def test_numbers_inside_other_things_are_checked_too() -> None:
    Options(rate=0.1, shares=(0.5, 1.0), switch=True)
    for wrong in ({"count": 0}, {"rate": 0.0}, {"shares": (0.5, 2.0)}, {"plain": -1}):
        with pytest.raises(InputError, match=f"option {next(iter(wrong))} is"):
            Options(**wrong)  # type: ignore[arg-type]

    inner = Options()
    object.__setattr__(inner, "count", 0)
    with pytest.raises(InputError, match="option count is 0; it must be 1 or more"):
        check_ranges(Outer(Sampling(), inner))
    assert get_origin(Count) is Annotated


def test_whole_numbers_that_no_database_holds_are_refused() -> None:
    Options(plain=LARGEST)
    with pytest.raises(InputError, match="it must be 0 or more, and at most 9,223,372,036,854,775,807"):
        Options(plain=LARGEST + 1)
    with pytest.raises(InputError, match="option layer is -1"):
        Options(layer=-(10**400))  # more than a float holds, too
