"""Disclosures: what a reviewer asks of a model that learned from feedback, answered from the record alone."""

from custodes.audit.disclosure.filling import Disclosure, disclose
from custodes.audit.disclosure.write import write_disclosure

__all__ = ["Disclosure", "disclose", "write_disclosure"]
