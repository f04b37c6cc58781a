"""Custodes trains language models on human feedback and watches the watchers."""

import os

__version__ = "0.2.0.dev0"

# Threads that wait for each other spin, 300,000 turns by default: beside other busy processes they keep the very thread they
# wait for from its processor, and sampling falls to a fifth of its speed. OpenMP reads this once, when torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
