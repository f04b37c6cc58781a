"""Waiting threads spin only shortly: what OpenMP itself says that it read."""

import os
import re
import subprocess
import sys

import pytest

SPINNING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spin_count(**environment: str) -> str:
    """GOMP_SPINCOUNT as OpenMP prints it when torch is loaded after custodes."""
    clean = {name: value for name, value in os.environ.items() if name not in SPINNING}
    done = subprocess.run(
        [sys.executable, "-c", "import custodes, torch"],
        env=clean | {"OMP_DISPLAY_ENV": "VERBOSE"} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r"GOMP_SPINCOUNT = '(\w+)'", done.stderr)
    if found is None:
        pytest.skip("torch's OpenMP is not GNU's here")
    return found[1]


def test_waiting_is_short_unless_the_user_says_otherwise():
    assert spin_count() == "2000"
    assert spin_count(GOMP_SPINCOUNT="77") == "77"
    assert spin_count(OMP_WAIT_POLICY="active") not in ("2000", "77")
