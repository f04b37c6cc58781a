"""Scorers of lines that are chosen by name, one file each."""
