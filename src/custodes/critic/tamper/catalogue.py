"""All operators by name: importing a module of operators registers those it defines."""

from custodes.critic.tamper import expressions, names, statements
from custodes.critic.tamper.scene import OPERATORS

MODULES = (expressions, names, statements)

__all__ = ["MODULES", "OPERATORS"]
