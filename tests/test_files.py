"""One file of the package writes beside the place and moves there; whatever is written appears whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import custodes
from custodes.files import folder_written_whole, save_json, save_text, take_over, written_whole

ROOT = Path(custodes.__file__).parent
BY_HAND = re.compile(
    r"\.write_(text|bytes)\(|os\.(replace|rename)\(|shutil\.(move|copytree)\(|\.rename\((?![\"{'])|NamedTemporaryFile|mkstemp"
    r"|\.replace\(([a-z_.]*(path|final|file|target|folder|index|library|wheel))\)|fsync"
)
"""How a file is written, or moved into its place, by hand."""
APART = {
    "environments/sandbox/inside",
    "critic/inside",
    "critic/evidence_writer.py",
    "gaming/scripted/reward_tampering.py",
    "gaming/monitors/rules.py",
    "web/api.py",
}
"""Code that runs in a sandbox, texts that speak of such code, and files that nobody sees before they are read again."""


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_else_writes_by_hand(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if name != "files.py" and not name.startswith(tuple(APART)):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not BY_HAND.search(line), f"{name}, line {number}: custodes.files writes and moves files"


def test_the_patterns_find_what_is_done_by_hand() -> None:
    assert all(BY_HAND.search(line) for line in ("p.write_text(x)", "os.replace(a, b)", "fresh.replace(self.index)"))
    assert not BY_HAND.search('text.replace("a", "b")')


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.json", tmp_path / "b"
    save_json(file, {"old": 1})
    with folder_written_whole(folder) as inside:
        save_text(inside / "x", "old")

    def half_a_file() -> None:
        with written_whole(file) as out:
            out.write(b"half")
            raise OSError(errno.ENOSPC, "full")

    def half_a_folder() -> None:
        with folder_written_whole(folder) as inside:
            save_text(inside / "x", "half")
            raise OSError(errno.ENOSPC, "full")

    for attempt in (half_a_file, half_a_folder):
        with pytest.raises(OSError, match="full"):
            attempt()
    assert (file.read_text(), (folder / "x").read_text()) == ('{\n  "old": 1\n}\n', "old")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b"]


def test_a_folder_takes_the_place_of_another_with_nothing_left_of_it(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    save_text(tmp_path / "b" / "gone", "")
    (tmp_path / "from" / "deep").mkdir(parents=True)
    for name in ("kept", "deep/kept", "ledger.db", "deep/ledger.db-wal"):
        save_text(tmp_path / "from" / name, name)
    take_over(tmp_path / "from", tmp_path / "b", ignore=("ledger.db*",))
    assert sorted(p.relative_to(tmp_path / "b").as_posix() for p in (tmp_path / "b").rglob("*")) == [
        "deep",
        "deep/kept",
        "kept",
    ]


WORK = """
import sys
from pathlib import Path
from custodes.files import folder_written_whole, save_text
for i in range(10**9):
    with folder_written_whole(Path(sys.argv[1])) as inside:
        for name in "abc":
            save_text(inside / name, str(i))
    print(i, flush=True)
"""


def test_a_folder_is_whole_or_gone_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call that changes names or removes them fails once, as if the process had ended there."""
    folder, calls = tmp_path / "folder", 0

    class Killed(BaseException):
        pass

    def mortal(function):  # type: ignore[no-untyped-def]
        def call(*args, **options):  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            if calls == last:
                raise Killed
            return function(*args, **options)

        return call

    monkeypatch.setattr("os.replace", mortal(os.replace))
    monkeypatch.setattr("os.unlink", mortal(os.unlink))
    monkeypatch.setattr("os.rmdir", mortal(os.rmdir))

    def write(text: str) -> None:
        with folder_written_whole(folder) as inside:
            for name in "abc":
                save_text(inside / name, text)

    last = 0
    write("0")
    for last in range(1, 40):
        calls = 0
        try:
            write(str(last))
            break
        except Killed:
            assert not folder.exists() or len({(folder / name).read_text() for name in "abc"}) == 1
            calls = 100
            write(str(last))
    assert 8 < last < 39  # three files, two names of folders, four removals: every one of them failed once
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_killed_at_any_moment_a_folder_is_whole_or_gone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for k in range(5):
        child = subprocess.Popen([sys.executable, "-c", WORK, str(folder)], stdout=subprocess.PIPE, text=True)
        assert child.stdout
        child.stdout.readline()
        time.sleep(0.013 * k)
        child.kill()
        child.communicate()
        assert not folder.exists() or len({(folder / name).read_text() for name in "abc"}) == 1
