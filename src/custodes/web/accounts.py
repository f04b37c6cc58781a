"""Who is who on the server: invitations, passwords, sessions and tokens.

Nobody registers by themselves: a lead invites, and the link is good once. Passwords are hashed with argon2id (RFC 9106).
A browser or a program shows a random secret of 256 bits; only its SHA-256 is stored. Failed log-ins are limited by name
and by network, and counted before a password is looked at. A log-in takes the same time whether or not the name exists.
A browser in which somebody was signed in before has a count of its own, so that others' guesses lock nobody out.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from custodes.types import InputError
from custodes.web.store import Store, accounts, devices, failures, identities, invitations, sessions, tokens

AccountRole = Literal["annotator", "reviewer", "lead", "auditor"]
ACCOUNT_ROLES: tuple[AccountRole, ...] = get_args(AccountRole)
Scope = Literal["read", "annotate", "manage", "propose"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a token may do: read what its account may read, judge as its account, administer as its account, propose actions
to the oversight queue and hear the answers."""

DAY = 86_400.0
IDLE = 12 * 3_600.0
"""Seconds without a request after which a session ends."""
LONGEST = 7 * DAY
"""Seconds after which a session ends whatever happens."""
WINDOW, LIMIT = 900.0, 8
"""So many failed log-ins of one name or from one network within so many seconds, and further ones are refused."""
HASHING, PATIENCE = 2, 10.0
"""Passwords that are hashed at once in one server process (each takes 64 MB), and seconds that others wait for their turn."""
DEVICE = 180 * DAY
"""Seconds for which a browser is known after somebody signed in."""
SHORTEST = 10
"""Characters of a password."""


class RefusedError(InputError):
    """A log-in, an invitation or a password that is not accepted."""


class TooManyError(RefusedError):
    """Too many failed log-ins; ``wait`` seconds from now there may be another."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"too many failed log-ins; try again in {max(1, round(wait / 60))} minutes.")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Account:
    """A person, or a program that acts as one."""

    id: str
    name: str
    role: AccountRole
    profile: Mapping[str, Any] = field(default_factory=dict)
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser holds after logging in. ``secret`` goes into a cookie, ``csrf`` into every form and request, and
    ``device`` into a cookie that stays when the session ends."""

    secret: str
    csrf: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request."""

    account: Account
    scopes: frozenset[str]
    csrf: str | None
    """What an unsafe request of this session must carry; None for tokens, which no browser sends by itself."""

    def carries(self, csrf: str | None) -> bool:
        """Whether an unsafe request that carries ``csrf`` was made on purpose."""
        return self.csrf is None or (csrf is not None and hmac.compare_digest(self.csrf.encode(), csrf.encode()))


class Accounts:
    """Accounts of one server. ``clock`` gives seconds since 1970."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time, hasher: PasswordHasher | None = None):
        self._store, self._clock, self._hasher = store, clock, hasher or PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex())
        self._turns = threading.BoundedSemaphore(HASHING)

    # ------------------------------------------------------------ invitations and accounts

    def invite(self, role: AccountRole, by: str, profile: Mapping[str, Any] | None = None, days: float = 7) -> str:
        """A secret for one new account, good once and for ``days``; ``by`` is the inviting account's id."""
        _check_role(role)
        secret = secrets.token_urlsafe(32)
        row = {"secret": _hash(secret), "role": role, "profile": json.dumps(dict(profile or {})), "by": by}
        self._store.execute(insert(invitations).values(**row, expires=self._clock() + days * DAY))
        return secret

    def accept(self, invitation: str, name: str, password: str) -> Account:
        """Make the account that was invited. The invitation is used up only where this succeeds.

        Raises RefusedError for an invitation that is unknown, used or out of date, a taken name and a weak password.
        """
        with self._store.reading() as connection:  # hashing costs a lot, and is not done for whoever was not invited
            self._invited(connection, invitation)
            name = _name(name)
            if connection.scalar(select(accounts.c.id).where(accounts.c.name == name)) is not None:
                raise _taken(name)
        hashed = self._hashed(password, name)
        with self._store.writing() as connection:
            return self._accept(connection, invitation, name, hashed)

    def accept_identity(self, invitation: str, issuer: str, subject: str, name: str) -> Account:
        """Make the account that was invited for whom a provider knows; a taken ``name`` gets a number. It has no password.

        Raises RefusedError as :meth:`accept`.
        """
        name = _name(name)
        with self._store.writing() as connection:
            like = select(accounts.c.name).where(accounts.c.name.startswith(name, autoescape=True))
            taken, number = set(connection.scalars(like)), 1
            while (free := name if number == 1 else f"{name[:70]}-{number}") in taken:
                number += 1
            account = self._accept(connection, invitation, free, self._nobody)
            connection.execute(insert(identities).values(issuer=issuer, subject=subject, account=account.id))
        return account

    def create(self, name: str, password: str, role: AccountRole, profile: Mapping[str, Any] | None = None) -> Account:
        """An account without an invitation: a server's first lead."""
        _check_role(role)
        name, hashed = _name(name), self._hashed(password, _name(name))
        with self._store.writing() as connection:
            return self._add(connection, name, hashed, role, json.dumps(dict(profile or {})))

    def of(self, id: str) -> Account | None:
        """The account with this id."""
        return next(map(_account, self._store.rows(select(accounts).where(accounts.c.id == id))), None)

    def all(self) -> list[Account]:
        """Every account, oldest first."""
        return list(map(_account, self._store.rows(select(accounts).order_by(accounts.c.created))))

    def disable(self, id: str, disabled: bool = True) -> None:
        """Let nobody in as this account; its sessions end now. What it did stays."""
        turned = update(accounts).where(accounts.c.id == id).values(disabled=disabled)
        self._store.execute(turned, delete(sessions).where(sessions.c.account == id))

    def change_password(self, id: str, old: str, new: str) -> None:
        """Raises RefusedError where ``old`` is wrong or ``new`` is weak, TooManyError after too many wrong ones.

        Every session and token of the account ends.
        """
        (row,) = self._store.rows(select(accounts).where(accounts.c.id == id))
        if not self._guess((f"password {id}",), row.password, old):
            raise RefusedError("the present password is another one.")
        hashed = self._hashed(new, row.name)
        ended = [delete(table).where(table.c.account == id) for table in (sessions, tokens)]
        self._store.execute(update(accounts).where(accounts.c.id == id).values(password=hashed), *ended)

    # ------------------------------------------------------------ sessions

    def of_identity(self, issuer: str, subject: str) -> Account | None:
        """The account of whom a provider knows."""
        here = (identities.c.issuer == issuer, identities.c.subject == subject)
        query = select(accounts).join(identities, identities.c.account == accounts.c.id).where(*here)
        return next(map(_account, self._store.rows(query)), None)

    def log_in_identity(self, issuer: str, subject: str, ended: str | None = None) -> tuple[Account, Session]:
        """A new session for whom a provider vouches; ``ended`` as in :meth:`log_in`. Raises RefusedError for nobody."""
        account = self.of_identity(issuer, subject)
        if account is None or account.disabled:
            raise RefusedError("you have no account here; ask a lead of your project for an invitation.")
        with self._store.writing() as connection:
            return account, self._begin(connection, account.id, ended)

    def log_in(
        self, name: str, password: str, address: str, ended: str | None = None, device: str = ""
    ) -> tuple[Account, Session]:
        """A new session; the one that the browser came with (``ended``) is no longer one, so that nobody can fix it
        beforehand. ``device`` is what the browser kept from an earlier one: it is limited by itself.

        Raises TooManyError after too many failures, and RefusedError, always with the same words, otherwise.
        """
        name = _plain(name)
        known = select(devices.c.account).where(devices.c.secret == _hash(device), devices.c.expires > self._clock())
        with self._store.reading() as connection:
            row = connection.execute(select(accounts).where(accounts.c.name == name)).one_or_none()
            trusted = bool(device) and row is not None and connection.scalar(known) == row.id
        keys = (f"device {_hash(device)}",) if trusted else (f"name {name[:80]}", f"address {network(address)}")
        right = self._guess(keys, row.password if row else self._nobody, password)
        if row is None or not right or row.disabled:
            raise RefusedError("name or password is wrong.")
        renewed = self._hasher.hash(password) if self._hasher.check_needs_rehash(row.password) else row.password
        with self._store.writing() as connection:
            connection.execute(update(accounts).where(accounts.c.id == row.id).values(password=renewed))
            session = self._begin(connection, row.id, ended)
            if not trusted:
                device = secrets.token_urlsafe(32)
                values = {"secret": _hash(device), "account": row.id, "expires": self._clock() + DEVICE}
                connection.execute(insert(devices).values(**values))
                connection.execute(delete(devices).where(devices.c.expires < self._clock()))
        return _account(row), replace(session, device=device)

    def by_session(self, secret: str) -> Caller | None:
        """Whose session this is; None where there is none any more."""
        now = self._clock()
        query = (
            select(accounts, sessions.c.csrf, sessions.c.created.label("began"), sessions.c.seen)
            .join(sessions, sessions.c.account == accounts.c.id)
            .where(sessions.c.secret == _hash(secret))
        )
        row = next(iter(self._store.rows(query)), None)
        if row is None or row.disabled or now - row.seen > IDLE or now - row.began > LONGEST:
            return None
        if now - row.seen > 60:  # a write a minute is enough to know who is idle
            self._store.execute(update(sessions).where(sessions.c.secret == _hash(secret)).values(seen=now))
        return Caller(_account(row), frozenset(SCOPES), row.csrf)

    def log_out(self, secret: str) -> None:
        """End a session."""
        self._store.execute(delete(sessions).where(sessions.c.secret == _hash(secret)))

    # ------------------------------------------------------------ tokens

    def create_token(self, account: str, name: str, scopes: Iterable[str], days: float = 90) -> tuple[str, str]:
        """(id, secret) of a token with which a program acts as ``account``; the secret is shown once."""
        wanted = sorted(set(scopes))
        if not wanted or not set(wanted) <= set(SCOPES):
            raise InputError(f"scopes {wanted} are not possible; give one or more of {', '.join(SCOPES)}.")
        if not 0 < days <= 366:
            raise InputError(f"a token for {days:g} days is not possible; give more than 0 and at most 366.")
        id, secret = secrets.token_hex(8), f"custodes_{secrets.token_urlsafe(32)}"
        values = {"secret": _hash(secret), "id": id, "account": account, "name": name[:80], "scopes": " ".join(wanted)}
        now = self._clock()
        self._store.execute(insert(tokens).values(**values, created=now, expires=now + days * DAY))
        return id, secret

    def by_token(self, secret: str) -> Caller | None:
        """Whose token this is; None where it is unknown, revoked or out of date."""
        query = (
            select(accounts, tokens.c.scopes, tokens.c.expires)
            .join(tokens, tokens.c.account == accounts.c.id)
            .where(tokens.c.secret == _hash(secret))
        )
        row = next(iter(self._store.rows(query)), None)
        if row is None or row.disabled or row.expires < self._clock():
            return None
        return Caller(_account(row), frozenset(row.scopes.split()), None)

    def revoke(self, account: str, id: str) -> bool:
        """End a token of ``account``; whether there was one."""
        return self._store.execute(delete(tokens).where(tokens.c.id == id, tokens.c.account == account)) > 0

    # ------------------------------------------------------------ within

    def _invited(self, connection: Connection, invitation: str) -> Row[Any]:
        wanted = select(invitations).where(invitations.c.secret == _hash(invitation))
        row = connection.execute(wanted.with_for_update()).one_or_none()  # nobody else uses it up meanwhile
        if row is None or row.used_by is not None or row.expires < self._clock():
            raise RefusedError("this invitation is unknown, used or out of date; ask for another.")
        return row

    def _accept(self, connection: Connection, invitation: str, name: str, hashed: str) -> Account:
        row = self._invited(connection, invitation)
        account = self._add(connection, name, hashed, row.role, row.profile)
        connection.execute(update(invitations).where(invitations.c.secret == row.secret).values(used_by=account.id))
        return account

    def _begin(self, connection: Connection, account: str, ended: str | None) -> Session:
        """A new session in place of the one that the browser came with."""
        now, session = self._clock(), Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        if ended:
            connection.execute(delete(sessions).where(sessions.c.secret == _hash(ended)))
        values = {"secret": _hash(session.secret), "account": account, "csrf": session.csrf}
        connection.execute(insert(sessions).values(**values, created=now, seen=now))
        return session

    def _add(self, connection: Connection, name: str, hashed: str, role: AccountRole, profile: str) -> Account:
        id = secrets.token_hex(8)
        values = {"id": id, "name": name, "password": hashed, "role": role, "profile": profile}
        try:
            connection.execute(insert(accounts).values(**values, created=self._clock(), disabled=False))
        except IntegrityError:
            raise _taken(name) from None
        return Account(id, name, role, json.loads(profile))

    def _guess(self, keys: tuple[str, ...], hashed: str, password: str) -> bool:
        """Whether a password is the right one, where there were not too many wrong ones under one of the keys.

        It counts as wrong until it was found right: of many at once, no more are looked at than one after the other.
        """
        with self._store.reading() as connection:
            self._limit(connection, keys)
        with self._turn():
            now = self._clock()
            with self._store.writing(alone=True) as connection:
                self._limit(connection, keys)
                connection.execute(delete(failures).where(failures.c.at < now - WINDOW))
                connection.execute(insert(failures), [{"key": key, "at": now} for key in keys])
            right = False
            with suppress(VerifyMismatchError, InvalidHashError):
                right = self._hasher.verify(hashed, password[:1024])
        if right:
            with self._store.writing() as connection:  # a name's earlier ones are forgotten, a network's are not
                others = [(failures.c.key == key) & (failures.c.at == now) for key in keys[1:]]
                connection.execute(delete(failures).where(or_(failures.c.key == keys[0], *others)))
        return right

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=PATIENCE):
            raise TooManyError(60.0)
        try:
            yield
        finally:
            self._turns.release()

    def _limit(self, connection: Connection, keys: tuple[str, ...]) -> None:
        since = self._clock() - WINDOW
        for key in keys:
            recent = select(func.count(), func.min(failures.c.at)).where(failures.c.key == key, failures.c.at > since)
            count, first = connection.execute(recent).one()
            if count >= LIMIT:
                raise TooManyError(first - since)

    def _hashed(self, password: str, name: str) -> str:
        if len(password) < SHORTEST or password.strip().lower() == name:
            raise RefusedError(f"this password is too weak; give {SHORTEST} or more characters that are not the name.")
        if len(password) > 1024:
            raise RefusedError("this password is too long; give at most 1,024 characters.")
        with self._turn():
            return self._hasher.hash(password)


def network(address: str) -> str:
    """What is counted as one: an IPv4 address, or the network of 64 bits that everybody with IPv6 has to themselves."""
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:80]
    if isinstance(number, ipaddress.IPv6Address):
        return str(number.ipv4_mapped or ipaddress.ip_network((number, 64), strict=False))
    return str(number)


def _check_role(role: str) -> None:
    if role not in ACCOUNT_ROLES:
        raise InputError(f"role {role!r} is unknown; choose from {', '.join(ACCOUNT_ROLES)}.")


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.name, row.role, json.loads(row.profile), row.disabled)


def _taken(name: str) -> RefusedError:
    return RefusedError(f"the name {name!r} is taken; choose another.")


def _plain(name: str) -> str:
    """A name as it is stored, found and counted: however it was typed, it is one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).strip().lower())


def _name(name: str) -> str:
    name = _plain(name)
    if not 2 <= len(name) <= 80 or not all(c.isalnum() or c in "._-@+" for c in name):
        raise RefusedError("a name has 2 to 80 letters, digits and . _ - @ +.")
    return name


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
