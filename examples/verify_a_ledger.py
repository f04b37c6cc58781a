"""The ledger notices when history is rewritten.

python examples/verify_a_ledger.py
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from custodes.feedback.kinds.comparison import Comparison
from custodes.ledger import Ledger, verify_ledger
from custodes.types import Annotator, Message, Task

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "ledger.db"
    with Ledger.open(path) as ledger:
        run = ledger.start_run("example", {"why": "to show it"}, seed=0)
        ledger.write(run, [Annotator("anna", "human"), Task("t", (Message("user", "Which answer is better?"),))])
        ledger.write(
            run,
            [
                Comparison(id=f"c{i}", annotator="anna", task="t", episodes=("a", "b"), strength=2, seconds=9.5)
                for i in range(3)
            ],
        )
        ledger.end_run(run)
    print("As it was written, the chain holds:", verify_ledger(path).ok)

    with sqlite3.connect(path) as database:  # somebody would rather that anna had preferred the other answer
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE log SET body = replace(body, '\"strength\":2', '\"strength\":-2') WHERE key = 'c1'")
        assert database.total_changes == 1
    print("After a small edit:", verify_ledger(path).problem)
