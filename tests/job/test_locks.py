"""A folder belongs to one process at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from custodes.job.locks import alone_in
from custodes.types import InputError

HOLD = "import sys; from pathlib import Path; from custodes.job.locks import alone_in\nwith alone_in(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_another_process_waits_its_turn_and_a_killed_one_holds_nothing(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use by another process"), alone_in(tmp_path):
            pass
        other.kill()
    with alone_in(tmp_path):
        pass
    with alone_in(tmp_path / "new" / "folder"):
        assert (tmp_path / "new" / "folder").is_dir()
