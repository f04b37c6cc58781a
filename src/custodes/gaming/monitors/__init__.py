"""Monitors that are called by name, a file each."""
