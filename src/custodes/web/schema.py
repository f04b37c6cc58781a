"""The tables of work, beside the ledger's in one database.

They hold what changes: what is open, what lies before whom. Judgments, tasks, episodes and decisions are in the ledger;
nothing here repeats them but an item's screen. Times are seconds since 1970. Accounts are in ``store.py``. What is added
here needs a migration in ``migrations/work``; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

about = Table(
    "web_about", metadata, Column("key", String(100), primary_key=True), Column("value", Text, nullable=False)
)

projects = Table(
    "web_projects",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("text", Text, nullable=False),  # the YAML, as it was checked
    Column("run", Text, nullable=False),  # in the ledger
    Column("closed", Text),  # why it ended; null while it is open
    Column("created", Float(53), nullable=False),
)

work_items = Table(
    "web_items",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("id", String(80), primary_key=True),
    Column("screen", Text, nullable=False),  # JSON: task and episodes
    Column("gold", Text, nullable=False),  # JSON, "" for what has no known answer
    Column("tags", Text, nullable=False),  # JSON
    Column("place", Integer, nullable=False),  # drawn order
    Column("information", Float(53), nullable=False),  # nats, under active selection
    Column("done", Integer, nullable=False),  # normal judgments
    Column("leased", Integer, nullable=False),
    Column("open", Integer, nullable=False),  # 1 while done and leased together are fewer than the overlap, else 0
)
_i = work_items.c
Index("web_items_next", _i.project, _i.open, _i.gold, _i.leased, _i.done.desc(), _i.place)

assignments = Table(
    "web_assignments",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("item", String(80), nullable=False),
    Column("account", String(40), nullable=False),
    Column("purpose", String(10), nullable=False),  # normal, gold, repeat
    Column("turn", Integer, nullable=False),  # how often this account had met this item before
    Column("shown", Text, nullable=False),  # JSON: order of the answers
    Column("state", String(10), nullable=False),  # leased, done, skipped, expired
    Column("given", Float(53), nullable=False),
    Column("until", Float(53), nullable=False),
    Column("ended", Float(53)),
    Column("seconds", Float(53)),
    Column("draft", Text, nullable=False),  # JSON, "" for none
    Column("alone", Text),  # JSON: what was judged before the help was shown; null for nothing yet
    Index("web_assignments_person", "project", "account", "state"),
    Index("web_assignments_item", "project", "item", "account"),
    Index("web_assignments_leases", "state", "until", "project"),
    Index("web_assignments_once", "project", "item", "account", "turn", unique=True),
)

quarantines = Table(
    "web_quarantines",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("account", String(40), primary_key=True),
    Column("decision", Text, nullable=False),  # id in the ledger
)

EVERYBODY = "everybody"
"""In place of an account's id: all who have one."""

members = Table(
    "web_members",  # who sees a project, beside leads and auditors
    metadata,
    Column("project", String(64), primary_key=True),
    Column("account", String(40), primary_key=True),
)

actions = Table(
    "web_actions",  # what policies propose to do, for a person to approve or to block
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account", String(40), nullable=False),  # whose process asks
    Column("policy", Text, nullable=False),
    Column("screen", Text, nullable=False),  # JSON: context, action, reason
    Column("rule", String(10), nullable=False),  # what happens when nobody answers in time: approve, block
    Column("asked", Float(53), nullable=False),
    Column("until", Float(53), nullable=False),
    Column("state", String(10), nullable=False),  # waiting, approved, blocked
    Column("by", String(40), nullable=False),  # account; "" while it waits and where the rule answered
    Column("why", Text, nullable=False),
    Column("decided", Float(53)),
    Column("seconds", Float(53)),  # of the person's time
    Column("harmful", Integer),  # 1 or 0 where it is known, which the person does not see
    Index("web_actions_state", "state", "asked"),
)

webhooks = Table(
    "web_webhooks",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),  # as it is: what is sent is signed with it
    Column("events", Text, nullable=False),  # separated by blanks, one before and one behind
    Column("created", Float(53), nullable=False),
    Index("web_webhooks_project", "project"),
)

outbox = Table(
    "web_outbox",  # written with what it tells of, in one transaction; sent afterwards
    metadata,
    Column("id", String(40), primary_key=True),
    Column("webhook", String(40), nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("state", String(10), nullable=False),  # waiting, delivered, given up
    Column("created", Float(53), nullable=False),
    Column("due", Float(53), nullable=False),  # when it is tried next
    Column("tries", Integer, nullable=False),
    Column("said", Text, nullable=False),  # what came of the last try
    Index("web_outbox_due", "state", "due"),
    Index("web_outbox_webhook", "webhook", "state"),
)
