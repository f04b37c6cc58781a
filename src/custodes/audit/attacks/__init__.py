"""Attacks on a model that should refuse: one whole plug-in a file."""
