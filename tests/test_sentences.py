"""Everything that people read is written in short sentences: help texts, public docstrings and the pages of the documentation.

A sentence ends with a full stop, a question mark or an exclamation mark. Code, tables and headings are none; a piece of code
inside a sentence is one word. None has more than 40 words, and the median of each kind of text is under 18.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_floors import MODULES

ROOT = Path(__file__).parents[1]
LONGEST, MEDIAN = 40, 18
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
END = re.compile(r"(?<=[.!?])[)\"'”]?\s+(?=[\"'“(]*[A-Z0-9`*])")
ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|cf|vs|al|eq|eqs|sec|fig|no|approx|resp|Dr)\.\s")


def sentences(text: str) -> Iterator[str]:
    """The sentences of plain text, paragraph by paragraph; indented code and lists are taken apart."""
    text = re.sub(r"``[^`]+``|`[^`]+`|:\w+:`[^`]+`", "X", text)
    for paragraph in re.split(r"\n\s*\n|\n\s*(?=[-*] |\d+\. |[a-z_, ]+: )", text):
        joined = ABBREVIATIONS.sub(r"\1 ", " ".join(paragraph.split()))
        yield from (part for part in END.split(joined) if words(part))


def words(sentence: str) -> int:
    return len([word for word in sentence.split() if re.search(r"\w", word)])


def of_page(path: Path) -> list[str]:
    text = re.sub(r"^(```|~~~).*?^\1[^\n]*$", "", path.read_text(), flags=re.M | re.S)
    text = re.sub(r"<!--.*?-->|<[^>\n]+>", " ", text, flags=re.S)
    lines = [line for line in text.splitlines() if not re.match(r"\s*(#|\||!\[|={3}|-{3}|\?{3}|!{3})", line)]
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", "\n".join(lines))
    return list(sentences(text))


def of_module(path: Path) -> list[str]:
    """Docstrings of the module, of public classes and functions, and of the fields of public classes: those are help texts."""
    tree = ast.parse(path.read_text())
    texts = [ast.get_docstring(tree) or ""]
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        body = getattr(node, "body", [])
        for item, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(item, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith(
                "_"
            ):
                texts.append(ast.get_docstring(item) or "")
                if isinstance(item, ast.ClassDef):
                    stack.append(item)
            elif isinstance(item, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
                value = after.value
                texts += [value.value] if isinstance(value, ast.Constant) and isinstance(value.value, str) else []
    return [sentence for text in texts for sentence in sentences(text)]


TEXTS = {str(path.relative_to(ROOT)): of_page(path) for path in PAGES} | {
    str(path.relative_to(ROOT)): of_module(path) for path in MODULES.values()
}


def too_long(name: str) -> list[str]:
    return [sentence for sentence in TEXTS[name] if words(sentence) > LONGEST]


@pytest.mark.parametrize("kind", ["docs", "src"])
def test_half_of_the_sentences_are_shorter_than_18_words(kind: str) -> None:
    lengths = [words(s) for name, own in TEXTS.items() if name.startswith("src") == (kind == "src") for s in own]
    assert len(lengths) > 1000
    assert statistics.median(lengths) < MEDIAN


def test_no_sentence_has_more_than_40_words() -> None:
    long: dict[str, list[str]] = defaultdict(list)
    for name in TEXTS:
        long[name.split("/")[2] if name.startswith("src") else "docs"] += [f"{name}: {s}" for s in too_long(name)]
    new = {place: found for place, found in long.items() if len(found) > STILL_LONG.get(place, 0)}
    assert not new, "\n".join(f"{words(s) - 1} words: {s}" for found in new.values() for s in found)


STILL_LONG = {
    "feedback": 2, "reward": 2,
}  # fmt: skip
"""Package -> how many of its sentences are too long yet; the numbers only shrink."""
