"""Alarms that watch an optimisation, one file each."""
