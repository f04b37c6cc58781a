"""What a model expects of functions: samples write ``assert f(...) == ...`` lines from documentation, and vote on each input.

The model sees signature and documentation, never the body, whose bugs it would repeat. Agreement of independent samples is
self-consistency (2203.11171); tests written by a model are CodeT's (2207.10397).
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from custodes.critic.functions import Definition, definitions_of
from custodes.critic.review.question import defused
from custodes.critic.review.remarks import EngineDied
from custodes.critic.review.snippets import parsed_python
from custodes.files import save_json
from custodes.ranges import Count, Share, ranged
from custodes.types import Engine, InputError, Message, Sampling, Task, hash_shown

TEMPERATURE = 0.7
TOGETHER = 30  # functions of one call: with six samples of each, as many as decode well together
LONGEST_DOCUMENTATION = 6000  # characters
LONGEST_VALUE = 400  # characters of an expected value
ASKED = (
    "Here is the signature of a Python function with its documentation.\n\n```python\n{code}\n```\n\n"
    "Write five tests of it, one a line, each of the form `assert {name}(...) == ...`. Take small inputs whose result the "
    "documentation decides, work each result out with care, and write nothing but these lines."
)
OPENED, CLOSED = "```python\nassert {name}", "```"
"""How a reply begins that the engine opens, and what ends it: else a small model first writes the function again, then says what it wrote."""
LINE = re.compile(r"^\s*(?:\d+[.)]\s*)?(?:>>>\s*)?`?(assert\s.+?)`?\s*$", re.MULTILINE)
PURE = (
    "abs all any bool bytes chr complex dict divmod enumerate filter float frozenset hex int isinstance iter len list map max min "
    "next oct ord pow range repr reversed round set slice sorted str sum tuple type zip"
)
"""Builtins that a proposed test may use beside the function."""
EVERY, MOST, FEW = 0.85, 0.45, 0.25
"""Confidence of a value that every sample expects, that four or more expect, and that fewer do. Measured by ``studies/model_votes.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class ProposalOptions:
    """What of a model's expectations counts, where one is named with --model."""

    proposals: Count = 6
    """Samples in which the model proposes tests of a function."""
    votes: Count = 3
    """Samples that must expect the same value of an input."""
    agreement: Share = 0.7
    """Share of the samples that name an input which must expect the same value."""
    proposal_tokens: Count = 256
    """Longest sample, in tokens."""


@dataclass(frozen=True, slots=True)
class ExpectedValue:
    """A call and the value that samples of a model expect of it: ``votes`` of the ``of`` that name the call, of ``samples`` in all."""

    source: str
    want: str
    votes: int
    of: int
    samples: int

    @property
    def confidence(self) -> float:
        return EVERY if self.votes == self.samples else MOST if self.votes >= 4 else FEW


class Proposer:
    """A model that is asked for tests. ``name`` tells it from others, in findings and in the cache."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        options: ProposalOptions,
        words: Sequence[str] = (),
        fits: Callable[[Task, str], bool] = lambda task, begun: True,
        opens: bool = False,
    ) -> None:
        """``words`` are the model's control words; ``fits`` says whether its context holds a question, a begun
        reply and a sample.

        ``opens``: the engine continues a reply that has begun, so the first test is begun for it, and the last ends it.
        """
        self.engine, self.name, self.options, self.words, self.fits = engine, name, options, words, fits
        self.opened = OPENED if opens else ""

    def propose(
        self,
        texts: Mapping[str, str],
        wanted: Mapping[str, set[str]],
        cache: Path | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> dict[tuple[str, str], list[ExpectedValue]]:
        """(file, function) -> what samples agree on. Many functions are asked about in one call of the engine.

        Args:
            texts: contents by file.
            wanted: qualified names of functions by file; methods are left out, and what has no documentation.
            cache: a folder in which answers of this model stay, from call to call.
            on_progress: called with (functions asked about, functions in all).

        Raises EngineDied where no answer comes.
        """
        questions = {
            (file, name): (_task_about(code, name, self.words), name)
            for file, names in wanted.items()
            for name, code in _documented(texts[file])
            if name in names
        }
        kept = {key: self._kept(cache, task) for key, (task, _) in questions.items()}
        asked = [
            key
            for key, replies in kept.items()
            if replies is None and self.fits(questions[key][0], self._begun(key[1]))
        ]
        n = self.options.proposals
        stop = (CLOSED,) if self.opened else ()
        sampling = Sampling(temperature=TEMPERATURE, max_tokens=self.options.proposal_tokens, n=n, stop=stop)
        for at in range(0, len(asked), TOGETHER):
            part = asked[at : at + TOGETHER]
            if on_progress is not None:
                on_progress(at, len(asked))
            begun = [self._begun(key[1]) for key in part] if self.opened else None
            try:
                episodes = self.engine.generate([questions[key][0] for key in part], sampling, begun)
            except InputError as error:
                raise EngineDied(str(error)) from None
            for i, key in enumerate(part):
                kept[key] = [e.completion for e in episodes[i * n : (i + 1) * n] if e.outcome != "error"]
                self._keep(cache, questions[key][0], kept[key] or [])
        return {key: _votes_on(replies or [], questions[key][1], self.options) for key, replies in kept.items()}

    def _begun(self, name: str) -> str:
        return self.opened.format(name=name)

    def _file(self, cache: Path, task: Task) -> Path:
        options = json.dumps(asdict(self.options), sort_keys=True)
        return cache / f"proposals-{hash_shown(self.name, options, self.opened, task.messages[0].content)}.json"

    def _kept(self, cache: Path | None, task: Task) -> list[str] | None:
        try:
            return None if cache is None else list(json.loads(self._file(cache, task).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _keep(self, cache: Path | None, task: Task, replies: list[str]) -> None:
        if cache is not None and replies:
            try:
                cache.mkdir(parents=True, exist_ok=True)
                save_json(self._file(cache, task), replies, indent=None)
            except OSError:
                return


def _task_about(code: str, name: str, words: Sequence[str] = ()) -> Task:
    """The question for tests of a function. ``words`` are broken up in it: the model's control words."""
    text = ASKED.format(code=defused(code.replace("```", "'''"), words), name=name)
    return Task(f"tests-{hash_shown(text)[:16]}", (Message("user", text),), environment="critic")


def _documented(text: str) -> Iterator[tuple[str, str]]:
    """(name, signature with documentation) of a module's functions, as far as something says what they do."""
    tree = parsed_python(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    if not isinstance(tree, ast.Module):
        return
    functions = [(name, node) for name, node in definitions_of(tree) if "." not in name]
    alone = [n.value.value for n in tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and isinstance(n.value.value, str)]  # fmt: skip
    for name, node in functions:
        said = [
            ast.get_docstring(node) or "",
            *(t for t in alone if re.search(rf"\b{name}\b", t) or len(functions) == 1),
        ]
        told = "\n\n".join(part.strip() for part in said if part.strip())[:LONGEST_DOCUMENTATION]
        if told:
            yield name, _signature(node, told)


def _signature(node: Definition, documentation: str) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    quoted = documentation.replace('"""', "'''").replace("\n", "\n    ")
    return f'def {node.name}({ast.unparse(node.args)}){returns}:\n    """{quoted}"""'


def _votes_on(replies: Sequence[str], name: str, options: ProposalOptions) -> list[ExpectedValue]:
    """Calls with the value that enough samples expect. A sample has one vote on each call, its first."""
    counts: dict[str, Counter[str]] = {}
    for reply in replies:
        for call, value in dict(reversed(list(_asserts(reply, name)))).items():
            counts.setdefault(call, Counter())[value] += 1
    found = []
    for call, values in counts.items():
        value, votes = values.most_common(1)[0]
        if votes >= options.votes and votes >= options.agreement * values.total():
            found.append(ExpectedValue(call, value, votes, values.total(), len(replies)))
    return sorted(found, key=lambda p: (-p.votes, p.source))


def _asserts(reply: str, name: str) -> Iterator[tuple[str, str]]:
    """(call, value) of the lines ``assert name(...) == value``, both written in Python's own way."""
    for match in LINE.finditer(reply):
        line = match[1].split("  #")[0]
        try:
            tree = ast.parse(line).body[0]
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        if not isinstance(tree, ast.Assert):
            continue
        test, value = tree.test, "True"
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, value = test.operand, "False"
        elif isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
            value = _literal(test.comparators[0])
            test = test.left
        if value and _calls_alone(test, name):
            yield ast.unparse(test), value


def _calls_alone(expression: ast.expr, name: str) -> bool:
    """Whether an expression calls a function once, with arguments, and needs nothing but pure builtins: ``list(f(len, [1]))``."""
    nodes = list(ast.walk(expression))
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name]
    if len(calls) != 1 or not (calls[0].args or calls[0].keywords):
        return False
    bound = {a.arg for n in nodes if isinstance(n, ast.Lambda) for a in ast.walk(n.args) if isinstance(a, ast.arg)}
    bound |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    hidden = any(isinstance(n, ast.Attribute) and n.attr.startswith("_") for n in nodes)
    return not hidden and {n.id for n in nodes if isinstance(n, ast.Name)} <= {name, *PURE.split()} | bound


def _literal(node: ast.expr) -> str:
    """The value as Python writes it; "" for what is no literal or is very long."""
    try:
        text = repr(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ""
    return text if len(text) <= LONGEST_VALUE else ""
