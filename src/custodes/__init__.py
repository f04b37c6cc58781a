"""Custodes trains language models on human feedback and watches the watchers."""

__version__ = "0.1.0"
