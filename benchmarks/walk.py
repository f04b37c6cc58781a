"""How far it is from the options of `custodes reward train` to its last effect: the functions that somebody reads on the way.

    python benchmarks/walk.py [--source DIR] [--list] [--json]

The command trains a reward on a tiny model, and every function of the package that is entered is noted once. A stop is one
that stands on the way from the command line to the updates of the weights and to what is saved: ``cli/``, ``job/``,
``loop/``, ``train/``, ``reward/train.py`` (in version 0.1 ``recipes/``, ``locks.py`` and ``progress.py`` too). Told apart are
the record, which version 0.1 did not keep of this command (``cli/recorded.py``, ``job/recording.py``, ``job/invocation.py``,
``job/options.py``), and what the way calls by name on other floors. ``--source`` walks through another checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from result import print_result

HERE = Path(__file__).parents[1]
WAY = (
    "cli/",
    "job/",
    "loop/",
    "train/",
    "reward/train.py",
    "reward/progress.py",
    "recipes/",
    "locks.py",
    "progress.py",
)
"""Files of the package in which a stop is counted."""
RECORD = ("cli/recorded.py", "job/recording.py", "job/invocation.py", "job/options.py")
"""Files of the way in which the run is recorded."""

CHILD = """
import inspect, json, sys
from pathlib import Path
import custodes
from custodes.cli.main import main
root, entered = str(Path(custodes.__file__).parent) + "/", {}
def note(frame, event, argument):
    code = frame.f_code
    body = code.co_flags & inspect.CO_NEWLOCALS and code.co_flags & inspect.CO_OPTIMIZED  # of a function, not of a class
    if event == "call" and body and code.co_filename.startswith(root) and code.co_name[0] != "<":
        entered.setdefault(code.co_filename.removeprefix(root) + ":" + code.co_qualname, None)
sys.setprofile(note)
code = main(sys.argv[2:])
sys.setprofile(None)
Path(sys.argv[1]).write_text(json.dumps([code, list(entered)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=HERE, help="a checkout of Custodes")
    parser.add_argument("--list", action="store_true", help="print every stop in the order in which it is met")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    options = parser.parse_args()
    entered = walk(options.source)
    way = [name for name in entered if name.startswith(WAY)]
    stops = [name for name in way if not name.startswith(RECORD)]
    if options.list:
        print("\n".join(stops))
    result = {"stops": len(stops), "of_the_record": len(way) - len(stops), "elsewhere": len(entered) - len(way)}
    if options.json:
        print_result({"benchmark": "walk", **result})
    else:
        print(result)


def walk(source: Path) -> list[str]:
    """``file:function`` of every function of the package that is entered, in the order in which they are met first."""
    sys.path.insert(0, str(HERE / "tests"))
    from conftest import write_tiny_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        write_tiny_model(folder / "model")
        rows = [{"prompt": f"Question {n}?", "chosen": f"Good answer {n}.", "rejected": f"Bad {n}."} for n in range(24)]
        (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        named = "--judgments" if (source / "src/custodes/job").is_dir() else "--preferences"
        words = ["reward", "train", named, "pairs.jsonl", "--out", "reward", "--model", "model", "--epochs", "1"]
        home = {"PYTHONPATH": str(source / "src"), "XDG_STATE_HOME": name, "OMP_NUM_THREADS": "1"}
        child = [sys.executable, "-c", CHILD, "entered.json", *words]
        subprocess.run(child, cwd=folder, env=os.environ | home, check=True, capture_output=True)
        code, entered = json.loads((folder / "entered.json").read_text())
        if code != 0:
            raise SystemExit(f"the command ended with {code}.")
    return list(entered)


if __name__ == "__main__":
    main()
