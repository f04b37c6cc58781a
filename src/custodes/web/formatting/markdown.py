"""What models and people wrote, as HTML that is safe to show: Markdown, highlighted code, maths.

HTML in the text stays text. Links go to the web only. Pictures are not loaded: they would tell their host who reads.
Maths becomes MathML, of which only known elements and attributes are kept.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from html import escape
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

LONGEST_FORMULA, LONGEST_CODE = 4_000, 50_000
"""Characters; what is longer is shown as it was written."""
MATHML = "http://www.w3.org/1998/Math/MathML"
_ELEMENTS = """
    math mrow mi mn mo ms mtext mspace msup msub msubsup mfrac msqrt mroot mtable mtr mtd mover munder munderover
    mstyle mpadded mphantom menclose mmultiscripts mprescripts none
"""
_ATTRIBUTES = """
    display displaystyle scriptlevel stretchy fence form separator mathvariant columnalign rowalign columnspacing
    rowspacing columnlines rowlines lspace rspace width height depth linethickness accent accentunder minsize maxsize
    movablelimits largeop symmetric notation mathcolor mathsize
"""
ELEMENTS, ATTRIBUTES = frozenset(_ELEMENTS.split()), frozenset(_ATTRIBUTES.split())
"""What a formula may consist of."""


def render_markdown(text: str) -> str:
    """``text``, Markdown with maths between $, $$, \\( \\) or \\[ \\], as safe HTML. The time that this takes has no bound."""
    return str(_markdown.render(text))


def _mathml(latex: str, block: bool = False) -> str:
    """LaTeX as MathML; as code where it cannot be read."""
    try:
        if len(latex) > LONGEST_FORMULA:
            raise ValueError
        root = ElementTree.fromstring(convert(latex, display="block" if block else "inline"))
        _keep_known(root)
    except Exception:  # the converter raises whatever its parsing meets: a formula is somebody's text
        return f"<code>{escape(latex)}</code>"
    ElementTree.register_namespace("", MATHML)
    return ElementTree.tostring(root, encoding="unicode")


def _code(text: str, language: str = "") -> str:
    """Source text with its parts in classes that the style sheet colours."""
    try:
        if len(text) > LONGEST_CODE or not language:
            raise ClassNotFound
        return str(highlight(text, get_lexer_by_name(language), HtmlFormatter(nowrap=True)))
    except ClassNotFound:
        return escape(text)


def _keep_known(element: ElementTree.Element) -> None:
    name = element.tag.removeprefix(f"{{{MATHML}}}")
    if name not in ELEMENTS:
        raise ValueError(f"{name} is no element of a formula")
    for attribute in set(element.attrib) - ATTRIBUTES:
        del element.attrib[attribute]
    for child in element:
        _keep_known(child)


# ---------------------------------------------------------------- Markdown's rules


_DOLLARS = re.compile(r"\$(?=[^\s$])([^$\n]*?[^\s\\$])\$(?!\d)")
"""A lone dollar is money: what opens with $ has no blank after it, and none before the closing one."""
_CLOSING = {"$$": "$$", "\\(": "\\)", "\\[": "\\]"}


def _inline_maths(state: StateInline, silent: bool) -> bool:
    opening = state.src[state.pos : state.pos + 2]
    if opening in _CLOSING:
        start = state.pos + 2
        end = state.src.find(_CLOSING[opening], start + 1, min(state.posMax, start + LONGEST_FORMULA))
        after = end + 2
    elif opening[:1] == "$" and (found := _DOLLARS.match(state.src, state.pos, state.posMax)) is not None:
        (start, end), after = found.span(1), found.end()
    else:
        return False
    if end < 0:
        return False
    if not silent:
        token = state.push("formula", "math", 0)
        token.content, token.meta = state.src[start:end], {"block": opening in ("$$", "\\[")}
    state.pos = after
    return True


def _block_maths(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """From a line that begins with $$ or \\[ to the first one that closes it, at its end."""
    start = state.bMarks[first] + state.tShift[first]
    opening = state.src[start : start + 2]
    if opening not in ("$$", "\\[") or state.is_code_block(first):
        return False
    closing = state.src.find(_CLOSING[opening], start + 2, start + LONGEST_FORMULA)
    line = bisect_left(state.eMarks, closing + 2, first, last)  # the line that holds it
    if closing < 0 or line >= last or state.src[closing + 2 : state.eMarks[line]].strip():
        return False
    content = state.getLines(first, line + 1, state.tShift[first], False).strip()[2:-2].strip()
    if not content:
        return False
    if not silent:
        token = state.push("formula", "math", 0)
        token.content, token.meta = content, {"block": True}
        state.line = line + 1
    return True


def _fence(token: Token) -> str:
    language = token.info.split()[0] if token.info.strip() else ""
    return f'<pre class="code" tabindex="0"><code>{_code(token.content, language)}</code></pre>\n'


def _image(token: Token) -> str:
    return f"<span>[picture: {escape(token.content)} {escape(str(token.attrs.get('src', '')))}]</span>"


def _heading(token: Token) -> str:
    """Below the headings of the page, so that its outline stays the page's."""
    return f"<{'/' if token.nesting < 0 else ''}h{min(6, int(token.tag[1]) + 3)}>"


def _rules() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    web = re.compile(r"\s*(https?://|mailto:)", re.IGNORECASE)
    markdown.validateLink = lambda url: web.match(url) is not None  # type: ignore[method-assign]
    markdown.inline.ruler.before("escape", "formula", _inline_maths)
    markdown.block.ruler.before("fence", "formula", _block_maths, {"alt": ["paragraph", "list", "blockquote"]})
    for name, rule in {
        "formula": lambda token: _mathml(token.content, token.meta["block"]),
        "fence": _fence,
        "code_block": _fence,
        "image": _image,
        "heading_open": _heading,
        "heading_close": _heading,
    }.items():
        markdown.add_render_rule(name, _of_one_token(rule))
    return markdown


def _of_one_token(rule: Callable[[Token], str]) -> Callable[..., str]:
    return lambda renderer, tokens, n, options, env: rule(tokens[n])


_markdown = _rules()
