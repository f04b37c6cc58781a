"""Defences of a model that should refuse: one whole plug-in a file."""
