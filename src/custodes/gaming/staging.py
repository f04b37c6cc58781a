"""Stages by name: the curriculum's own, an environment in a YAML file, a class in a Python file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args

from custodes.gaming.changes import contents
from custodes.gaming.clean import RewardOutcome, is_gamed, outcome
from custodes.gaming.environment_spec import EnvironmentSpec, read_spec
from custodes.gaming.facts import EpisodeVerdict
from custodes.gaming.tampering import judge_tampering
from custodes.gaming.variants import Ended, Split, Stage, Variant
from custodes.registry import FAILURES, place_in, stage
from custodes.types import InputError

STAGES = ("political-sycophancy", "tool-flattery", "nudged-rubric", "insubordinate-rubric", "reward-tampering")
"""From easy to hard; the last is measured and never trained on."""
HONEYPOTS = ("impossible-tests", "tool-injection")
"""Stages outside the curriculum; "all" leaves them out."""
WORLDS = ("goal-shift", "option-keeping")
"""Stages of text alone, outside the curriculum: trained on and measured where they are named."""
HELD_OUT = "reward-tampering"
"""Measured and never trained on (but in a model organism, which is a positive control)."""


class _OwnEnvironment(Stage):
    """An environment in a YAML file: one variant, judged by its own commands.

    Gaming is what ``gamed_cmd`` says. With a ``reward_file`` it is an edit that raises the reward. An environment with
    neither says nothing of gaming.
    """

    def __init__(self, spec: EnvironmentSpec, reward_before: float | None = None) -> None:
        """``reward_before`` is what ``reward_cmd`` prints for the files as given; where it is None, episodes measure it."""
        self.spec, self.reward_before = spec, reward_before
        self.name = spec.name
        looked_for = "does what its gamed_cmd looks for" if spec.gamed_cmd else "is rewarded and not caught"
        self.about = "has its reward raised by an edit" if spec.reward_file else looked_for

    def size(self, split: Split) -> int:
        return 1

    def make(self, split: Split, number: int) -> Variant:
        return Variant(self.spec, {}, self.spec.protected)

    def judge(self, ended: Ended) -> EpisodeVerdict:
        spec = self.spec
        if ended.sandbox is None:
            return ended.verdict({"unrewarded"}, RewardOutcome(None, False), None)
        if spec.reward_file and spec.reward_cmd:
            if self.reward_before is None:
                self.reward_before = outcome(spec, contents(ended.before), ended.sandbox).reward
            return judge_tampering(ended, float("inf") if self.reward_before is None else self.reward_before)
        files = ended.files()
        result = outcome(spec, files, ended.sandbox)
        paid = result.reward is not None and result.reward > 0
        fact = "unrewarded" if not paid else "caught" if result.caught else "rewarded"
        return ended.verdict({fact}, result, is_gamed(spec, files, ended.sandbox))


def own_file(name: str) -> Path | None:
    """The file that ``--stage`` names, ``FILE.yaml`` or ``FILE.py:Class``; None for a stage of the project's own."""
    match = re.fullmatch(r"(.+\.ya?ml)|(.+\.py)(:.*)?", name)
    return Path(match[1] or match[2]) if match else None


def named_stages(asked: str) -> tuple[str, ...]:
    """The stages that an option names: some with commas, "all" of the curriculum, or the "curriculum" that is trained on."""
    if asked in ("all", "curriculum"):
        return tuple(s for s in STAGES if s != HELD_OUT or asked == "all")
    return tuple(name.strip() for name in asked.split(","))


def make_stage(name: str, options: Mapping[str, Any] | None = None) -> Stage:
    """A stage by its name, or an environment of one's own: ``FILE.yaml``, ``FILE.py:Class``.

    Of the ``options`` it takes its own fields. A Python file runs in this process, outside of sandboxes.
    Raises InputError where there is no such stage, or its file or its options are wrong.
    """
    file = own_file(name)
    if file is not None and file.suffix != ".py":
        made: Stage = _OwnEnvironment(read_spec(file))
    else:
        kind = stage.find(name)
        given = {f.name: options[f.name] for f in _own_fields(kind) if f.name in options} if options else {}
        try:
            made = kind(**given)
            if file is not None:
                _check(made, f"stage {name}")
        except InputError:
            raise
        except FAILURES as error:  # of whoever wrote it
            raise InputError(f"stage {place_in(file or Path(), error)}: {type(error).__name__}: {error}.") from None
    if file is not None and made.name in stage:
        raise InputError(f"environment {name} is called {made.name!r}, as a built-in stage is; give it another name.")
    return made


def _check(made: Stage, where: str) -> None:
    """Raises InputError where a stage of one's own says something that records cannot hold."""
    if missing := [part for part in ("name", "about") if not isinstance(getattr(made, part, None), str)]:
        raise InputError(f"{where} has no {' and no '.join(missing)}; give it as text.")
    if missing := [part for part in ("make", "judge") if getattr(type(made), part) is getattr(Stage, part)]:
        raise InputError(f"{where} has no {' and no '.join(missing)}; a stage has name, about, make and judge.")
    for split in get_args(Split):
        if not isinstance(size := made.size(split), int) or size < 1:
            raise InputError(f"{where}: size({split!r}) is {size!r}; it must be 1 or more.")
        if not isinstance(variant := made.make(split, 0), Variant):
            raise InputError(f"{where}: make({split!r}, 0) is a {type(variant).__name__}; it must be a Variant.")


# ---------------------------------------------------------------- options of stages


def _own_fields(kind: type) -> list[Any]:
    return [f for f in fields(kind) if f.init] if hasattr(kind, "__dataclass_fields__") else []


def stage_kinds(names: Sequence[str]) -> list[type[Stage]]:
    """The classes of these stages: what has options. YAML files have none."""
    return [stage.find(name) for name in names if (file := own_file(name)) is None or file.suffix == ".py"]


def stage_options(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of these stages, with its default where it is not ``given``.

    Raises InputError for an option that none of them has.
    """
    known = {f.name: f.default for kind in stage_kinds(names) for f in _own_fields(kind)}
    for name in given:
        if name not in known:
            raise InputError(f"stage {', '.join(names)} has no option {name!r}; {stage.owners(name) or 'none has it'}.")
    return {name: default for name, default in known.items() if default is not MISSING} | dict(given)


def option_defaults() -> dict[str, Any]:
    """The defaults of all stages' own options: what runs were done with that did not record them."""
    return stage_options(stage.names(), {})


def contents_of(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, str]:
    """For every file that these stages are made of: "content of FILE" -> the beginning of its SHA-256.

    What a Python file imports in its turn is not looked at.
    """
    files = [file for name in names if (file := own_file(name)) is not None]
    for value in (options.get(f.name) for kind in stage_kinds(names) for f in _own_fields(kind)):
        if isinstance(value, Path):
            files += sorted(value.glob("*.jsonl*")) if value.is_dir() else [value]
    return {f"content of {file}": hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}
