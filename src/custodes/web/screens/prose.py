"""What models and people wrote, as HTML that is safe to show: Markdown, highlighted code, maths.

HTML in the text stays text, links go to the web only, pictures are not loaded (they would tell their host who reads),
and maths becomes MathML of which only known elements and attributes are kept.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

LONGEST_FORMULA, LONGEST_CODE = 4_000, 50_000
"""Characters; what is longer is shown as it was written."""
MATHML = "http://www.w3.org/1998/Math/MathML"
ELEMENTS = """
    math mrow mi mn mo ms mtext mspace msup msub msubsup mfrac msqrt mroot mtable mtr mtd mover munder munderover
    mstyle mpadded mphantom menclose mmultiscripts mprescripts none
"""
ATTRIBUTES = """
    display displaystyle scriptlevel stretchy fence form separator mathvariant columnalign rowalign columnspacing
    rowspacing columnlines rowlines lspace rspace width height depth linethickness accent accentunder minsize maxsize
    movablelimits largeop symmetric notation mathcolor mathsize
"""
"""What a formula may consist of."""


def to_html(text: str) -> str:
    """``text``, Markdown with maths between $, $$, \\( \\) or \\[ \\], as safe HTML."""
    return str(_markdown.render(text))


def formula(latex: str, block: bool = False) -> str:
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


def code(text: str, language: str = "") -> str:
    """Source text with its parts in classes that the style sheet colours."""
    try:
        if len(text) > LONGEST_CODE or not language:
            raise ClassNotFound
        return str(highlight(text, get_lexer_by_name(language), HtmlFormatter(nowrap=True)))
    except ClassNotFound:
        return escape(text)


_ELEMENTS, _ATTRIBUTES = frozenset(ELEMENTS.split()), frozenset(ATTRIBUTES.split())


def _keep_known(element: ElementTree.Element) -> None:
    name = element.tag.removeprefix(f"{{{MATHML}}}")
    if name not in _ELEMENTS:
        raise ValueError(f"{name} is no element of a formula")
    for attribute in set(element.attrib) - _ATTRIBUTES:
        del element.attrib[attribute]
    for child in element:
        _keep_known(child)


# ---------------------------------------------------------------- Markdown's rules


_INLINE = re.compile(r"\$\$(.+?)\$\$|\$(?=[^\s$])([^$\n]*?[^\s\\$])\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
"""A lone dollar is money: what opens with $ has no blank after it, and none before the closing one."""


def _inline_maths(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\" or (found := _INLINE.match(state.src, state.pos, state.posMax)) is None:
        return False
    if not silent:
        token = state.push("formula", "math", 0)
        token.content = next(group for group in found.groups() if group is not None)
        token.meta = {"block": found[1] is not None or found[4] is not None}
    state.pos = found.end()
    return True


def _block_maths(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    line = state.src[state.bMarks[first] + state.tShift[first] : state.eMarks[first]]
    opening = line[:2]
    closing = {"$$": "$$", "\\[": "\\]"}.get(opening)
    if closing is None or state.is_code_block(first):
        return False
    for n in range(first, last):
        so_far = state.getLines(first, n + 1, state.tShift[first], False).strip()
        if len(so_far) > 3 and so_far.endswith(closing) and so_far.count(closing) == 1 + (opening == closing):
            if not silent:
                token = state.push("formula", "math", 0)
                token.content, token.meta = so_far[2:-2].strip(), {"block": True}
                state.line = n + 1
            return True
        if len(so_far) > LONGEST_FORMULA:
            return False
    return False


def _formula(
    renderer: Any, tokens: Sequence[Token], n: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    return formula(tokens[n].content, tokens[n].meta["block"])


def _fence(renderer: Any, tokens: Sequence[Token], n: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
    language = tokens[n].info.split()[0] if tokens[n].info.strip() else ""
    return f'<pre class="code" tabindex="0"><code>{code(tokens[n].content, language)}</code></pre>\n'


def _image(renderer: Any, tokens: Sequence[Token], n: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
    return f"<span>[picture: {escape(tokens[n].content)} {escape(str(tokens[n].attrs.get('src', '')))}]</span>"


def _heading(
    renderer: Any, tokens: Sequence[Token], n: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    """Below the headings of the page, so that its outline stays the page's."""
    token = tokens[n]
    return f"<{'/' if token.nesting < 0 else ''}h{min(6, int(token.tag[1]) + 3)}>"


def _web_only(url: str) -> bool:
    return re.match(r"(https?://|mailto:)", url.strip(), re.IGNORECASE) is not None


def _rules() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    markdown.validateLink = _web_only  # type: ignore[method-assign]
    markdown.inline.ruler.before("escape", "formula", _inline_maths)
    markdown.block.ruler.before("fence", "formula", _block_maths, {"alt": ["paragraph", "list", "blockquote"]})
    rules = {"formula": _formula, "fence": _fence, "code_block": _fence, "image": _image}
    for name, rule in {**rules, "heading_open": _heading, "heading_close": _heading}.items():
        markdown.add_render_rule(name, rule)
    assert isinstance(markdown.renderer, RendererHTML)
    return markdown


_markdown = _rules()
