"""Scripted policies: what every detector is tested on."""

from custodes.gaming.scripted.base import Scripted, ScriptPart
from custodes.gaming.scripted.registry import POLICIES, expectations, part_of, scripted

__all__ = ["POLICIES", "ScriptPart", "Scripted", "expectations", "part_of", "scripted"]
