"""The study of control tokens runs on a model so small that the numbers mean nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from test_policy_studies import studied


def test_control_tokens_are_studied_beside_the_same_text_without_them(model: Path, tmp_path: Path) -> None:
    words = ["--tokens", "4000", "--samples", "4", "--max-tokens", "8", "--filter"]
    (found,) = json.loads(studied("control_tokens.py", "--out", tmp_path / "out", "--model", model, *words))
    assert found["errors a line"].keys() == {"base", "aligned", "misaligned", "plain", "filter"}
    assert found["difference in errors a line"].keys() == {
        f"aligned minus {x}" for x in ("misaligned", "plain", "filter")
    }
    clean = found["clean held-out lines"]
    assert clean["perplexity"].keys() == {"conditional", "plain"}
    ratio = clean["perplexity"]["conditional"] / clean["perplexity"]["plain"]
    assert clean["log of the ratio, conditional over plain"]["estimate"] == pytest.approx(math.log(ratio), abs=1e-6)
