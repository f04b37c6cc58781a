"""What the build of the documentation does besides.

Formulas become MathML, which browsers draw without a script; references in docstrings (:func:`name`) become code.
"""

from __future__ import annotations

import re

from latex2mathml.converter import convert

FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):<code>(~?)([\w.]+)</code>")


def on_page_markdown(markdown: str, **context: object) -> str:
    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else FORMULA.sub(_mathml, part) for part in parts)


def on_page_content(html: str, **context: object) -> str:
    return ROLE.sub(lambda m: f"<code>{m[2].rpartition('.')[2] if m[1] else m[2]}</code>", html)


def _mathml(found: re.Match[str]) -> str:
    inline, block = found.groups()
    return convert(inline) if inline else convert(block, display="block")
