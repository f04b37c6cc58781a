"""Charts as pictures inside a page: self-contained, named for screen readers."""

from __future__ import annotations

import hashlib
import html
import re
from typing import Any

import vl_convert


def to_svg(chart: Any, title: str) -> str:
    """An altair chart as an <svg> element whose ids differ from those of every other chart of the page."""
    svg = vl_convert.vegalite_to_svg(chart.to_dict(validate=False))
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>c{own}-", svg)
    label = html.escape(title)
    return re.sub(r"<svg ([^>]*)>", rf'<svg role="img" aria-label="{label}" \1><title>{label}</title>', svg, count=1)
