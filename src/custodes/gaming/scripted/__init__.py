"""Scripted policies, a file for each kind of stage: what every detector is tested on."""
