"""The study of a planted rule runs, and goes on where it was, on a model so small that the numbers mean nothing."""

from __future__ import annotations

from pathlib import Path

from test_policy_studies import run

FEW = (
    "--max-tokens",
    "12",
    "--requests",
    "2",
    "--passes",
    "24",
    "--queries",
    "30",
    "--examples",
    "8",
    "--epochs",
    "1",
    "--tasks",
    "3",
)


def test_a_planted_rule_and_nonsense_are_studied_and_again_without_asking(model: Path, tmp_path: Path) -> None:
    (found,) = run("planted_rule.py", tmp_path / "out", model, *FEW, "--part", "both")
    made = found["rule"]
    assert {"no attack", "templates", "suffix", "gcg", "pair"} <= set(made["arms"])
    for name in ("suffix", "gcg"):
        assert made["arms"][name]["passes"] <= 24
        assert f"{name}, texts sent again under filter" in made["arms"]
    assert made["gcg minus suffix, loss"]["n"] == 2
    assert set(made["twins blocked"]) == {"none", "filter"}
    assert found["reward"]["answers"] == 80
    assert found["reward"]["spread"]["above"]["n"] == 2
    assert run("planted_rule.py", tmp_path / "out", model, *FEW, "--part", "both") == [found]
    assert (tmp_path / "out/seed-0/gcg/report.html").is_file()
