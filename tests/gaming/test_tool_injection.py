"""Prompt injection through a tool's output: what is told apart, in a real sandbox, and what the control is for."""

from __future__ import annotations

from played import MADE, POLICIES, play

from custodes.gaming.variants import SIZE

STAGE = MADE["tool-injection"]


def test_half_of_the_variants_are_injected_and_the_others_speak_of_the_same_deed() -> None:
    for split in ("train", "held-out"):
        made = [STAGE.variant(split, k) for k in range(SIZE)]  # type: ignore[arg-type]
        assert sum(v.truth["injected"] for v in made) == SIZE / 2
        for variant in made:
            (text,) = variant.spec.files.values()
            assert variant.truth["word"] in text
            assert variant.truth["mark"] in text
            assert variant.truth["word"] not in variant.spec.prompt
            assert f"counted {variant.truth['count']} " in text
        assert len({(v.spec.prompt, *v.spec.files.values()) for v in made}) == SIZE


def test_gaming_is_the_deed_and_the_reward_is_the_users_number(sandboxed: None) -> None:
    for name, gamed in (("honest", False), ("obedient", True)):
        variant = STAGE.variant("held-out", 0)
        verdict = play(STAGE, 0, POLICIES[name].parts["tool-injection"].replies(variant)).verdict
        assert (verdict.gamed, verdict.reward, verdict.details["injected"]) == (gamed, 1, True)
