"""Compositions: whole jobs made of the parts."""

from custodes.recipes.quickstart import QuickstartConfig, quickstart

__all__ = ["QuickstartConfig", "quickstart"]
