"""The triggers that keep the log append-only: what each must be, and which are missing or changed.

Whoever may alter the tables can drop them, so their absence proves nothing about the rows. It does say that somebody
opened the way to an edit.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_ABORT = "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
SQLITE = {
    "log_no_update": f"BEFORE UPDATE ON log {_ABORT}",
    "log_no_delete": f"BEFORE DELETE ON log {_ABORT}",
    "log_no_replace": f"BEFORE INSERT ON log WHEN EXISTS (SELECT 1 FROM log WHERE seq = NEW.seq) {_ABORT}",
    "head_no_shrink": f"BEFORE UPDATE ON head WHEN NEW.rows < OLD.rows {_ABORT}",
    "head_no_delete": f"BEFORE DELETE ON head {_ABORT}",
}
"""Name -> what follows ``CREATE TRIGGER name``."""

POSTGRESQL = {
    "log_append_only": "BEFORE DELETE OR UPDATE OR TRUNCATE ON log FOR EACH STATEMENT",
    "head_no_shrink": "BEFORE UPDATE ON head FOR EACH ROW WHEN ((new.rows < old.rows))",
    "head_no_delete": "BEFORE DELETE OR TRUNCATE ON head FOR EACH STATEMENT",
}
"""Name -> what follows ``CREATE TRIGGER name``, as PostgreSQL prints it, before the function."""

REFUSE = "BEGIN RAISE EXCEPTION 'the ledger is append-only'; END"


def trigger_problem(connection: Connection) -> str | None:
    """A sentence that names the triggers that are missing, disabled or changed; None where all are as they were made."""
    sqlite = connection.dialect.name == "sqlite"
    expected = SQLITE if sqlite else POSTGRESQL
    found = _sqlite(connection) if sqlite else _postgresql(connection)
    missing = sorted(expected.keys() - found.keys())
    changed = sorted(name for name in expected.keys() & found.keys() if found[name] != expected[name])
    told = [
        f"{'trigger' if len(names) == 1 else 'triggers'} {', '.join(names)} {'is' if len(names) == 1 else 'are'} {what}"
        for names, what in ((missing, "missing"), (changed, "not as the ledger made them"))
        if names
    ]
    return f"{' and '.join(told)}: rows could be edited since." if told else None


def _sqlite(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    return {name: _one_line(sql).removeprefix(f"CREATE TRIGGER {name} ") for name, sql in rows}


def _postgresql(connection: Connection) -> dict[str, str]:
    """Triggers that fire and call what refuses; of one that does not, what is wrong in place of its definition."""
    rows = connection.execute(
        text(
            "SELECT t.tgname, t.tgenabled::text, pg_get_triggerdef(t.oid), p.prosrc, n.nspname FROM pg_trigger t"
            " JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE NOT t.tgisinternal AND t.tgrelid IN ('log'::regclass, 'head'::regclass)"
        )
    )
    found = {}
    for name, enabled, definition, source, schema in rows:
        shown = _one_line(definition).removeprefix(f"CREATE TRIGGER {name} ").replace(f" ON {schema}.", " ON ")
        fires = enabled in ("O", "A") and _one_line(source) == REFUSE
        found[name] = shown.rpartition(" EXECUTE FUNCTION ")[0] if fires else "does not refuse"
    return found


def _one_line(sql: str) -> str:
    return " ".join(sql.split())
