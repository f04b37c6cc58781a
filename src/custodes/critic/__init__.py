"""Critics of code: what they write, what they learn from, how they are rated, and the review of every day."""

from custodes.feedback.critique import Critique, Finding, Place, hallucinated, locate, parse_critique, write_critique

__all__ = ["Critique", "Finding", "Place", "hallucinated", "locate", "parse_critique", "write_critique"]
