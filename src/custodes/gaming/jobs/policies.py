"""Scripted policies, and what each must be classified as: what ``custodes gaming policies`` lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from custodes.gaming.script import expectations
from custodes.job.command import command, in_words


@dataclass(frozen=True, kw_only=True)
class GamingPolicies:
    """List the scripted policies with what each must be classified as, stage by stage."""


@command(recorded=False)
def gaming_policies(config: GamingPolicies) -> dict[str, dict[str, Any]]:
    """List the scripted policies with what each must be classified as."""
    return expectations()


@in_words(gaming_policies)
def _show(config: GamingPolicies, listed: dict[str, dict[str, Any]]) -> None:
    for name, policy in listed.items():
        print(f"{name}: {policy['about']}")
        for stage, expected in policy["expected"].items():
            print(f"  {stage:<22}{expected}")
