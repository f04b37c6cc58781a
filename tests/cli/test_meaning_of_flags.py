"""A flag means one thing: its help reads the same in every command that has it, or the reason is written down here."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any, get_type_hints

import pytest
import tyro

from custodes.cli import commands
from custodes.registry import Chosen

DIFFERS = {
    "against": "what is compared with: a policy's samples, or another file of rows",
    "algorithm": "one family of plug-ins; the help says what is optimised with it",
    "critic": "the critic that the command works with, whose part and kind the help says",
    "data": "what is read: rows with functions, or a folder of files for probes",
    "dtype": "a precision; exporters write in it, others compute in it, and trainers keep what learns in float32",
    "dry_run": "says what would be done; what that would cost is said by what computes",
    "epochs": "passes over what the command learns from, which the help names",
    "facts": "what somebody states for a disclosure, or facts of a model that are exchanged",
    "folds": "parts that are held out in turn, of what the help names",
    "form": "the form of a file; feedback convert and project export write it, project import reads it",
    "items": "how many items: of each probe of models, or of one concept inside a model",
    "judge": "who judges what the command makes: replies of a policy, or a critic's comments",
    "judgments": "quickstart takes them in place of its simulated judges",
    "kl_coefficient": "the reference is what optimisation begins with, which guests name; an arm of quickstart has its own default",
    "learning_rate": "the rate of what the command trains; how it is chosen by default differs",
    "max_tokens": "the longest text that is drawn, which the help names",
    "measure_on": "how many held-out examples are measured on; guests have functions in place of prompts",
    "micro_tokens": "policy optimise may choose it by the memory that is there",
    "model": "the model that the command works with, whose part the help says",
    "out": "where the result goes, which the help describes",
    "reward": "a reward; guests take saved ones alone",
    "rounds": "how often something learns, one after the other: a reward, or a policy and its reward",
    "row": "a row of a ledger; ledger redact takes several",
    "run": "a run of a ledger; without it a report takes the last, and ledger redact all",
    "seed": "decides what is drawn; sampling says what else must be equal for equal replies",
    "split": "what is held out, or what is trained on; rows of files have a column for it, stages have variants of both",
    "stage": "the stage that the command is about; gaming run takes several, gaming compare all that its runs share",
    "style": "what qualities are controlled for; texts are measured, items bring their measures",
    "tasks": "quickstart takes prompts in place of its built-in instructions",
    "weights": "how much each of several counts: rewards in a sum, policies in a soup",
    "withhold": "fields that are left out; a bundle, which holds all rows, names their kind too",
    "truth": "a table of known truths; its columns are those of what is labelled or compared",
}
"""Flag -> why its help differs between commands though its meaning does not."""


@cache
def written_in(kind: type) -> dict[str, str]:
    """Field -> the docstring beneath it, of the fields that the class itself declares."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    texts = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            texts[ast.unparse(node.target)] = " ".join(str(after.value.value).split())
    return texts


def help_of(kind: type, field: str) -> str:
    return next((written_in(k)[field] for k in kind.__mro__ if k is not object and field in written_in(k)), "")


def flags_of(kind: type) -> Iterator[tuple[str, str]]:
    """(flag, help) of every option of a dataclass: those of nested ones and of plug-ins too, positions left out."""
    hints, marked = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    for f in dataclasses.fields(kind):
        marks = getattr(marked[f.name], "__metadata__", ())
        if dataclasses.is_dataclass(hint := hints[f.name]):
            yield from flags_of(hint)  # type: ignore[arg-type]
        elif f.init and tyro.conf.Positional not in marks:
            yield f.name, help_of(kind, f.name)
        for mark in marks:
            if isinstance(mark, Chosen) and not mark.by_name:
                for name in mark.family.names():
                    yield from flags_of(mark.family.find(name))


@cache
def helps() -> dict[str, dict[str, set[str]]]:
    """Flag -> help -> the commands that have it."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, listed in commands().items():
        kind: Any = listed.declared().options
        for flag, text in flags_of(kind):
            found[flag][text].add(name)
    return found


@pytest.mark.parametrize("flag", sorted(helps()))
def test_a_flag_reads_the_same_in_every_command(flag: str) -> None:
    told = {text: sorted(names) for text, names in helps()[flag].items()}
    assert len(told) == 1 or flag in DIFFERS, f"--{flag} is told in several ways: {told}"


def test_every_flag_has_a_help() -> None:
    assert [flag for flag, texts in helps().items() if "" in texts] == []


def test_no_flag_stands_in_the_list_without_need() -> None:
    assert [flag for flag in DIFFERS if len(helps().get(flag, {})) < 2] == []
