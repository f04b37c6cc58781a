"""Accounts: invitations, passwords, sessions, tokens."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from custodes.types import InputError
from custodes.web.accounts import (
    DAY,
    HASHING,
    IDLE,
    LIMIT,
    LONGEST,
    WINDOW,
    Account,
    Accounts,
    RefusedError,
    TooManyError,
)
from custodes.web.database import ServerDatabase
from custodes.web.store import Store

PASSWORD = "correct horse battery"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Accounts:
    return Accounts(Store(tmp_path / "desk.db"), clock, QUICK)


@pytest.fixture(params=["sqlite", "postgresql"])
def anybodys_desk(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    lite = request.param == "sqlite"
    store = Store(tmp_path / "desk.db" if lite else request.getfixturevalue("postgres_server").new_database())
    yield Accounts(store, clock, QUICK)
    store.close()


@pytest.fixture
def lead(desk: Accounts) -> Account:
    return desk.create("Lea", PASSWORD, "lead")


def test_who_was_invited_can_log_in(anybodys_desk: Accounts) -> None:
    desk, lead = anybodys_desk, anybodys_desk.create("Lea", PASSWORD, "lead")
    invitation = desk.invite("annotator", lead.id, {"expertise": ["python"]})
    made = desk.accept(invitation, " Ann ", PASSWORD)
    account, session = desk.log_in("ANN", PASSWORD, "1.2.3.4")
    assert account == made
    assert (account.name, account.role, account.profile) == ("ann", "annotator", {"expertise": ["python"]})
    caller = desk.by_session(session.secret)
    assert caller is not None
    assert caller.account == account
    assert [a.name for a in desk.all()] == ["lea", "ann"]


def test_an_invitation_is_good_once_and_for_a_week(desk: Accounts, lead: Account, clock: Clock) -> None:
    once = desk.invite("annotator", lead.id)
    with pytest.raises(RefusedError, match="too weak"):
        desk.accept(once, "ann", "short")
    with pytest.raises(RefusedError, match="is taken"):
        desk.accept(once, "lea", PASSWORD)
    desk.accept(once, "ann", PASSWORD)  # what was refused has not used it up
    for wrong in (once, "guessed"):
        with pytest.raises(RefusedError, match="unknown, used or out of date"):
            desk.accept(wrong, "bob", PASSWORD)
    late = desk.invite("annotator", lead.id)
    clock.now += 8 * DAY
    with pytest.raises(RefusedError, match="out of date"):
        desk.accept(late, "bob", PASSWORD)


def test_two_at_once_cannot_use_one_invitation(anybodys_desk: Accounts) -> None:
    desk, lead = anybodys_desk, anybodys_desk.create("Lea", PASSWORD, "lead")
    invitation = desk.invite("annotator", lead.id)

    def accept(i: int) -> bool:
        try:
            desk.accept(invitation, f"ann{i}", PASSWORD)
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(accept, range(8))) == 1
    assert len(desk.all()) == 2


def test_no_secret_can_be_read_from_the_tables(desk: Accounts, lead: Account, tmp_path: Path) -> None:
    _, session = desk.log_in("lea", PASSWORD, "a")
    _, token = desk.create_token(lead.id, "script", ["read"])
    invitation = desk.invite("annotator", lead.id)
    content = "".join(map(str, sqlite3.connect(tmp_path / "desk.db").iterdump()))
    assert "$argon2id$" in content
    for secret in (PASSWORD, session.secret, token, invitation):
        assert secret not in content


def test_wrong_names_and_wrong_passwords_are_told_apart_by_nothing(desk: Accounts, lead: Account) -> None:
    said = []
    for name, password in (("lea", "wrong password"), ("nobody", PASSWORD), ("lea", "")):
        with pytest.raises(RefusedError) as refused:
            desk.log_in(name, password, f"address {name}")
        said.append(str(refused.value))
    assert len(set(said)) == 1


def test_failures_are_limited_by_name_and_by_address_and_time_heals(
    desk: Accounts, lead: Account, clock: Clock
) -> None:
    for i in range(LIMIT):
        with pytest.raises(RefusedError):
            desk.log_in("lea", "wrong password", f"address {i}")
    with pytest.raises(TooManyError, match="minutes"):
        desk.log_in("lea", PASSWORD, "another address")
    for i in range(LIMIT):
        with pytest.raises(RefusedError):
            desk.log_in(f"name {i}", "wrong password", "one address")
    with pytest.raises(TooManyError):
        desk.log_in("anybody", PASSWORD, "one address")
    clock.now += WINDOW + 1
    desk.log_in("lea", PASSWORD, "one address")


def test_a_session_that_was_there_before_is_ended_by_logging_in(desk: Accounts, lead: Account) -> None:
    _, fixed = desk.log_in("lea", PASSWORD, "a")
    _, own = desk.log_in("lea", PASSWORD, "a", ended=fixed.secret)
    assert desk.by_session(fixed.secret) is None
    assert desk.by_session(own.secret) is not None
    desk.log_out(own.secret)
    assert desk.by_session(own.secret) is None
    assert desk.by_session("guessed") is None


def test_sessions_end_when_idle_and_in_the_end(anybodys_desk: Accounts, clock: Clock) -> None:
    desk = anybodys_desk
    desk.create("Lea", PASSWORD, "lead")
    _, idle = desk.log_in("lea", PASSWORD, "a")
    clock.now += IDLE + 1
    assert desk.by_session(idle.secret) is None
    _, busy = desk.log_in("lea", PASSWORD, "a")
    began = clock.now
    while clock.now - began < LONGEST - IDLE:
        clock.now += IDLE - 10
        assert desk.by_session(busy.secret) is not None
    clock.now = began + LONGEST + 1
    assert desk.by_session(busy.secret) is None


def test_unsafe_requests_of_a_session_carry_its_own_csrf_token(desk: Accounts, lead: Account) -> None:
    _, one = desk.log_in("lea", PASSWORD, "a")
    _, two = desk.log_in("lea", PASSWORD, "a")
    caller = desk.by_session(one.secret)
    assert caller is not None
    assert caller.carries(one.csrf)
    assert not any(caller.carries(wrong) for wrong in (None, "", two.csrf, "é"))


def test_a_token_has_its_scopes_and_its_end(desk: Accounts, lead: Account, clock: Clock) -> None:
    id, secret = desk.create_token(lead.id, "nightly export", ["read"], days=30)
    caller = desk.by_token(secret)
    assert caller is not None
    assert "read" in caller.scopes
    assert "manage" not in caller.scopes
    assert caller.carries(None)  # no browser sends it by itself
    assert desk.by_session(secret) is None
    assert not desk.revoke("somebody else", id)
    clock.now += 31 * DAY
    assert desk.by_token(secret) is None
    id, secret = desk.create_token(lead.id, "another", ["read", "annotate"])
    assert desk.revoke(lead.id, id)
    assert desk.by_token(secret) is None
    for scopes, days in (([], 1), (["everything"], 1), (["read"], 0), (["read"], 1000)):
        with pytest.raises(InputError):
            desk.create_token(lead.id, "wrong", scopes, days)


def test_whoever_is_disabled_is_out_at_once(desk: Accounts, lead: Account) -> None:
    _, session = desk.log_in("lea", PASSWORD, "a")
    _, token = desk.create_token(lead.id, "script", ["read"])
    desk.disable(lead.id)
    assert desk.by_session(session.secret) is None
    assert desk.by_token(token) is None
    with pytest.raises(RefusedError, match="name or password"):
        desk.log_in("lea", PASSWORD, "a")
    desk.disable(lead.id, False)
    desk.log_in("lea", PASSWORD, "a")


def test_a_new_password_ends_every_session_and_token(desk: Accounts, lead: Account) -> None:
    _, session = desk.log_in("lea", PASSWORD, "a")
    _, token = desk.create_token(lead.id, "script", ["read"])
    with pytest.raises(RefusedError, match="another one"):
        desk.change_password(lead.id, "wrong", "a new password")
    desk.change_password(lead.id, PASSWORD, "a new password")
    assert desk.by_session(session.secret) is None
    assert desk.by_token(token) is None
    desk.log_in("lea", "a new password", "a")


@pytest.mark.parametrize("where", ["{}/s.db", "sqlite:///{}/s.db"])
def test_nobody_else_may_read_a_new_servers_files(tmp_path: Path, where: str) -> None:
    before = os.umask(0o022)
    try:
        database = ServerDatabase(where.format(tmp_path), hasher=QUICK)
        database.accounts.create("lea", PASSWORD, "lead")
        files = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert {"s.db", "s.db.accounts"} <= files.keys()
    assert set(files.values()) == {0o600}


@pytest.mark.parametrize("name", ["", "a", "a b", "<b>", "x" * 81, "nul\0"])
def test_names_that_cannot_be(desk: Accounts, name: str) -> None:
    with pytest.raises(RefusedError, match="2 to 80"):
        desk.create(name, PASSWORD, "lead")


def test_passwords_that_cannot_be_and_roles_that_are_none(desk: Accounts) -> None:
    for password in ("short", "lea.someone", "x" * 2000):
        with pytest.raises(RefusedError):
            desk.create("lea.someone", password, "lead")
    with pytest.raises(InputError, match="role 'boss'"):
        desk.create("lea", PASSWORD, "boss")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="role 'boss'"):
        desk.invite("boss", "x")  # type: ignore[arg-type]


def test_old_hashes_are_renewed_when_their_owner_logs_in(
    desk: Accounts, lead: Account, tmp_path: Path, clock: Clock
) -> None:
    stronger = Accounts(Store(tmp_path / "desk.db"), clock, PasswordHasher(time_cost=2, memory_cost=128, parallelism=1))
    stronger.log_in("lea", PASSWORD, "a")
    hashed = sqlite3.connect(tmp_path / "desk.db").execute("SELECT password FROM desk_accounts").fetchone()[0]
    assert "m=128,t=2" in hashed
    desk.log_in("lea", PASSWORD, "a")


def test_what_cannot_be_a_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        Store(tmp_path / "no" / "folder.db")
    with pytest.raises(InputError, match="not a URL"):
        Store("postgresql//nowhere://")
    with pytest.raises(InputError, match="cannot be used"):
        Store("postgresql://nobody:secret@127.0.0.1:1/none")


# ---------------------------------------------------------------- guessing


class Counting(PasswordHasher):
    """Counts what costs: the hashes that are made and compared."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.looked = self.at_once = self.most = 0
        self.lock = threading.Lock()

    def verify(self, *given: Any) -> Any:
        with self.lock:
            self.looked, self.at_once = self.looked + 1, self.at_once + 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.01)
        try:
            return super().verify(*given)
        finally:
            with self.lock:
                self.at_once -= 1

    def hash(self, *given: Any, **more: Any) -> str:
        self.looked += 1
        return super().hash(*given, **more)


def test_many_guesses_at_once_count_as_many(anybodys_desk: Accounts) -> None:
    desk = anybodys_desk
    desk.create("lea", PASSWORD, "lead")
    desk._hasher = hasher = Counting()

    def guess(n: int) -> str:
        try:
            desk.log_in("lea", f"wrong password {n}", f"192.0.2.{n}")
        except RefusedError as error:
            return type(error).__name__
        return "in"

    with ThreadPoolExecutor(40) as pool:
        said = list(pool.map(guess, range(40)))
    assert said.count("RefusedError") == LIMIT
    assert said.count("TooManyError") == 40 - LIMIT
    assert hasher.looked == LIMIT
    assert hasher.most <= HASHING


@pytest.mark.parametrize("spelled", ["LEA", "\uff2c\uff25\uff21", " lea ", "\tLea", "lea\u3000", "\uff4cea"])
def test_however_a_name_is_typed_it_is_one(desk: Accounts, lead: Account, spelled: str) -> None:
    for n in range(LIMIT):
        with pytest.raises(RefusedError):
            desk.log_in(spelled, "wrong password", f"192.0.2.{n}")
    with pytest.raises(TooManyError):
        desk.log_in("lea", "wrong password", "198.51.100.1")


@pytest.mark.parametrize("network", ["2001:db8:1:2::{}", "::ffff:192.0.2.7", "192.0.2.7", "fe80::{}%eth0"])
def test_addresses_of_one_network_are_counted_together(desk: Accounts, lead: Account, network: str) -> None:
    for n in range(LIMIT):
        with pytest.raises(RefusedError):
            desk.log_in(f"name {n}", "wrong password", network.format(n))
    with pytest.raises(TooManyError):
        desk.log_in("lea", PASSWORD, network.format("ffff"))


def test_a_strangers_guesses_do_not_lock_out_a_browser_that_is_known(desk: Accounts, lead: Account) -> None:
    _, earlier = desk.log_in("lea", PASSWORD, "192.0.2.1")
    for n in range(LIMIT + 2):
        with pytest.raises(RefusedError):
            desk.log_in("lea", "wrong password", f"198.51.100.{n}", device=f"made up {n}")
    with pytest.raises(TooManyError):
        desk.log_in("lea", PASSWORD, "192.0.2.1")
    _, again = desk.log_in("lea", PASSWORD, "192.0.2.1", device=earlier.device)
    assert again.device == earlier.device
    for _ in range(LIMIT):  # and whoever has that browser cannot guess for ever
        with pytest.raises(RefusedError):
            desk.log_in("lea", "wrong password", "192.0.2.1", device=earlier.device)
    with pytest.raises(TooManyError):
        desk.log_in("lea", PASSWORD, "192.0.2.1", device=earlier.device)


def test_a_browser_is_known_for_its_own_account_alone(desk: Accounts, lead: Account) -> None:
    desk.create("eve", PASSWORD, "annotator")
    _, eves = desk.log_in("eve", PASSWORD, "192.0.2.1")
    for n in range(LIMIT):
        with pytest.raises(RefusedError):
            desk.log_in("lea", "wrong password", f"192.0.2.{n}", device=eves.device)
    with pytest.raises(TooManyError):
        desk.log_in("lea", "wrong password", "192.0.2.99", device=eves.device)


def test_many_who_sign_in_rightly_from_one_network_are_let_in(desk: Accounts) -> None:
    for n in range(2 * LIMIT):
        desk.create(f"p{n}", PASSWORD, "annotator")
    with ThreadPoolExecutor(2 * LIMIT) as pool:
        assert len(list(pool.map(lambda n: desk.log_in(f"p{n}", PASSWORD, "192.0.2.1"), range(2 * LIMIT)))) == 2 * LIMIT


def test_nobody_who_was_not_invited_costs_a_hash(desk: Accounts, lead: Account) -> None:
    desk._hasher = hasher = Counting()
    for _ in range(5):
        with pytest.raises(RefusedError, match="invitation"):
            desk.accept("guessed", "bob", PASSWORD)
    with pytest.raises(RefusedError, match="is taken"):
        desk.accept(desk.invite("annotator", lead.id), "lea", PASSWORD)
    assert hasher.looked == 0


def test_the_present_password_is_not_guessed_in_a_stolen_session(desk: Accounts, lead: Account) -> None:
    for _ in range(LIMIT):
        with pytest.raises(RefusedError, match="another one"):
            desk.change_password(lead.id, "wrong", "a new password")
    with pytest.raises(TooManyError):
        desk.change_password(lead.id, PASSWORD, "a new password")
