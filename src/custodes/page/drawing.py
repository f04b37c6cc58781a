"""altair, imported when the first chart is drawn: most commands draw none.

The import takes .2 s, and 3 s where another package brought a checker of IRIs that altair's own requirement compiles a grammar for.
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
