"""altair, imported when the first chart is drawn: most commands draw none.

Its import also loads every checker of formats that altair's own requirement finds installed, and one of them compiles a grammar
for seconds (``python -X importtime -c "import altair"`` tells).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["alt"]

if TYPE_CHECKING:
    import altair as alt
else:

    class _Altair:
        def __getattr__(self, name: str) -> Any:
            return getattr(import_module("altair"), name)

    alt = _Altair()
