"""A tiny model in which a word at the beginning reaches the last token only from layer 2 on, and two letters tell of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from custodes.audit.fact_edit import EditOptions
from custodes.audit.facts_to_edit import Cloze, Fact

WIDTH = 128
"""Hidden size: in fewer dimensions a random direction is not unlike any other."""
PLANTED = 2
"""The first layer after which the concept can be read at the last token."""
PLACES = (
    "park",
    "house",
    "garden",
    "street",
    "river",
    "forest",
    "market",
    "station",
    "school",
    "bridge",
    "tower",
    "field",
)


def concept_rows(reply: str = "") -> list[dict[str, Any]]:
    """Pairs that differ in their first word, in groups of two; with a reply or with answers Y and Q."""
    rows = []
    for place in PLACES:
        for word, label in (("fox", 1), ("jumps", 0)):
            more = (
                {"completion": f"{reply} {place}."} if reply else {"answer": "YQ"[1 - label], "others": ["YQ"[label]]}
            )
            rows.append({"prompt": f"{word} in the {place}, who watches?", "label": label, "group": place, **more})
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def apart(states: np.ndarray, label: np.ndarray) -> torch.Tensor:
    """(d,) the unit direction between the classes, without what both have in common: its sign tells the class."""
    between = states[label].mean(0) - states[~label].mean(0)
    common = states.mean(0)
    between -= (between @ common) / (common @ common) * common
    return torch.tensor(between / np.linalg.norm(between), dtype=torch.float32)


SWAPPED = Fact(
    asked=Cloze("fox in the park, who watches?"),
    subject="fox",
    new="Q",
    old="Y",
    paraphrases=(Cloze("fox in the garden, who watches?"),),
    neighbours=((Cloze("jumps in the park, who watches?"), "Q"),),
)
"""In the planted model the letter is the fact: Y of the fox, Q of what jumps."""
FAR = EditOptions(value_steps=40, value_step=0.5, value_limit=20.0, value_decay=0.01)
"""A random model needs larger values than a trained one."""
