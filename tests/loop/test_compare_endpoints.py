"""A model and the same model behind a server say the same; what a server does not tell is skipped by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from served_model import served

from custodes.lm.address import open_endpoint
from custodes.lm.engine import TorchEngine
from custodes.lm.given import CannotTell
from custodes.lm.loading import load
from custodes.loop.audit_compare import AuditCompare, audit_compare
from custodes.types import Message, Sampling, Task

TASKS = [Task(str(i), (Message("user", text),)) for i, text in enumerate(("Is water wet?", "Who watches?"))]


def test_a_server_scores_replies_as_the_model_does(tiny_model: Path) -> None:
    engine = TorchEngine(load(tiny_model, dtype="float32"))
    replies = ["(A)", "A", "the quick fox", "B"]
    asked = [task for task in TASKS for _ in replies]
    truth = engine.reply_logprobs(asked, replies * 2)
    with served(tiny_model, "everything") as name:
        np.testing.assert_allclose(open_endpoint(name, "x").reply_logprobs(asked, replies * 2), truth, atol=1e-4)
    letters = [task for task in TASKS for _ in "AB"]
    with served(tiny_model, "first tokens") as name:
        server = open_endpoint(name, "x")
        np.testing.assert_allclose(
            server.reply_logprobs(letters, ["A", "B"] * 2), engine.reply_logprobs(letters, ["A", "B"] * 2), atol=1e-4
        )
        with pytest.raises(CannotTell, match=r"first tokens alone; '\(A\)' takes several"):
            server.reply_logprobs(TASKS, ["(A)", "(B)"])
    with served(tiny_model, "text") as name, pytest.raises(CannotTell, match="gives no log-probabilities"):
        open_endpoint(name, "x", max_retries=0).reply_logprobs(TASKS, ["A", "B"])


@pytest.mark.parametrize("gives", ["everything", "first tokens"])
def test_a_model_does_not_differ_from_itself_behind_a_server(gives: str, tiny_model: Path, tmp_path: Path) -> None:
    with served(tiny_model, gives) as name:  # type: ignore[arg-type]
        config = AuditCompare(
            models=(f"here={tiny_model}", f"there={name}"), out=tmp_path / "out", items=12, measure_on=4, dtype="float32",
            probes="diversity,entropy,political,calibration", sampling=Sampling(n=2, max_tokens=4),
        )  # fmt: skip
        found = audit_compare(config)
    assert "behind a server" in found.models["there"].history
    assert "tokenizer" in found.models["there"].no_kl
    for probe in ("political", "calibration"):
        for figure in found.probes[probe].figures:
            assert figure.differences["there"].estimate == pytest.approx(0, abs=1e-3), figure.name
    assert {f.name for f in found.probes["diversity"].figures if "there" in f.models}
    entropy = found.probes["entropy"]
    if gives == "everything":
        assert all("there" in f.models for f in entropy.figures)
    else:
        assert "no log-probabilities" in entropy.skipped["there"]
