"""The two tables of a ledger. The views, triggers and their history are in ``migrations/``."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, MetaData, Table, Text, text

FORMAT = "0002"
"""The newest migration: the format that this version of Custodes writes."""

READABLE = ("0001", FORMAT)
"""Formats that are read as they are, where a ledger is opened for reading only."""

VERSION_TABLE = "ledger_version"

metadata = MetaData()

log = Table(
    "log",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),  # 1, 2, 3 ...
    Column("at", Text, nullable=False),  # when it was written, UTC, ISO 8601
    Column("run", Text, nullable=False),
    Column("kind", Text, nullable=False),  # "task", "judgment", ...
    Column("key", Text, nullable=False),  # the record's id
    Column("body", Text, nullable=False),  # the record's other fields, JSON
    Column("supersedes", BigInteger().with_variant(Integer, "sqlite")),  # seq of the row that this one replaces
    Column("previous", Text, nullable=False),  # hash of the row before
    Column("hash", Text, nullable=False),
    Index("log_key", "run", "kind", "key"),
    Index("log_order", "run", "kind", "seq"),
    Index(
        "log_supersedes",
        "supersedes",
        unique=True,
        sqlite_where=text("supersedes IS NOT NULL"),
        postgresql_where=text("supersedes IS NOT NULL"),
    ),
)

head = Table(
    "head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="head_single"), primary_key=True, autoincrement=False),
    Column("rows", BigInteger().with_variant(Integer, "sqlite"), nullable=False),  # how many rows the log has
    Column("hash", Text, nullable=False),  # hash of the last of them
)
