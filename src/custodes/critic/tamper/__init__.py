"""Bugs inserted into real functions: operators on the syntax tree, and the proof that each changes what tests see."""

from custodes.critic.tamper.bugs import HELD_OUT_OPERATORS, Tampered, candidates, tamper
from custodes.critic.tamper.scene import OPERATORS, Edit, Operator, Scene

__all__ = ["HELD_OUT_OPERATORS", "OPERATORS", "Edit", "Operator", "Scene", "Tampered", "candidates", "tamper"]
