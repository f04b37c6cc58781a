"""Compositions: whole jobs made of the parts, one module each, so that a job loads only what it needs."""
