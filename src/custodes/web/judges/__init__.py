"""Judges between rounds of a policy who are people on the annotation server."""
