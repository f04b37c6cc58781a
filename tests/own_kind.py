"""A kind of judgment of somebody's own, as docs/how-to/add-a-kind.md has it: installed into a folder, as pip would."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs/how-to/add-a-kind.md"


def install(folder: Path) -> Path:
    """The page's two files and its entry points, as an installed package in ``folder``."""
    page = PAGE.read_text()
    for name, text in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(text)
    (offered,) = re.findall(r"^```text\n(\[project.entry-points.*?)^```", page, re.MULTILINE | re.DOTALL)
    about = folder / "chance-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: chance\nVersion: 1.0\n")
    groups = tomllib.loads(offered)["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{n} = {at}\n" for n, at in points.items()) for group, points in groups.items()]
    (about / "entry_points.txt").write_text("".join(lines))
    return folder
