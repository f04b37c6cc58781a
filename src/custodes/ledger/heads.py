"""Heads kept outside the ledger: the hash of its last row, signed, one JSON object a line in a file.

A chain of hashes shows that rows follow one another, not that they are the rows of yesterday: whoever may write the
database can compute every hash anew. A head that was kept where that person cannot write shows it. A signature (ed25519,
RFC 8032) shows who kept it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodes.files import to_disk
from custodes.types import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_VARIABLE = "CUSTODES_LEDGER_KEY"


@dataclass(frozen=True, slots=True)
class Head:
    """How far a ledger had come at some time."""

    time: str  # UTC, ISO 8601
    ledger: str  # whole path or URL, without a password
    origin: str  # hash of row 1: the ledger's identity, wherever it is moved
    rows: int
    head: str  # hash of the last row
    root: str = ""  # of the Merkle tree over the hashes of all rows; "" where it was not made
    key: str = ""  # public key, hexadecimal
    signature: str = ""  # hexadecimal, of :meth:`signed_text`
    stamp: str = ""  # base64: a time-stamp authority's answer about the same text

    def signed_text(self) -> bytes:
        """What is signed: the other fields as JSON with sorted names and no blanks, in UTF-8."""
        told = {name: value for name, value in asdict(self).items() if name not in ("key", "signature", "stamp")}
        if not self.root:  # as heads were signed before they had one
            del told["root"]
        return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# ---------------------------------------------------------------- keys


def default_key() -> Path:
    """Where the key is looked for where CUSTODES_LEDGER_KEY names none."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "custodes" / "ledger.key"


def make_key(path: Path) -> Path:
    """Write a new private key to ``path``, readable by its owner alone, and the public one beside it; returns that path.

    Raises InputError where one of them is there already, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = path.with_name(path.name + ".pub")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    shown = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    for file in (path, public):
        if file.exists():
            raise InputError(f"{file} is there already; a key is never overwritten, so name another file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, content, mode in ((path, private, 0o600), (public, shown, 0o644)):
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
                out.write(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another file for the key.") from None
    return public


def configured_key() -> Path | None:
    """The private key of whoever runs this: CUSTODES_LEDGER_KEY, or the file that ``custodes ledger keygen`` writes."""
    named = os.environ.get(KEY_VARIABLE)
    if named:
        return Path(named)
    return default_key() if default_key().is_file() else None


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Raises InputError for a file that is no such key, and for one that others may read."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise InputError(f"the key {path} cannot be read ({error.strerror}).") from None
    if mode & 0o077:
        raise InputError(f"the key {path} can be read by others; let its owner alone read it: chmod 600 {path}.")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is no private ed25519 key; make one with custodes ledger keygen.")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Raises InputError for a file that is no such key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise InputError(f"the public key {path} cannot be read ({error.strerror}).") from None
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is no public ed25519 key; custodes ledger keygen writes one, with the ending .pub.")
    return key


def sign_head(head: Head, key: Ed25519PrivateKey) -> Head:
    return replace(head, key=key.public_key().public_bytes_raw().hex(), signature=key.sign(head.signed_text()).hex())


def is_signed_by(head: Head, key: Ed25519PublicKey) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(bytes.fromhex(head.signature), head.signed_text())
    except (InvalidSignature, ValueError):
        return False
    return True


# ---------------------------------------------------------------- the file


def append_head(path: Path, head: Head) -> None:
    """Add a line to the head file, on disk when this returns.

    Raises InputError where it cannot be written, and where it is no head file, or ends in a line that was cut short: that
    would spoil what is there, and what is added.
    """
    line = (json.dumps(asdict(head), ensure_ascii=False) + "\n").encode()
    if path.is_file() and read_heads(path) and not path.read_bytes().endswith(b"\n"):
        line = b"\n" + line
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(line)
            to_disk(file)
    except OSError as error:
        raise InputError(f"the head file {path} cannot be written ({error.strerror}).") from None


def read_heads(path: Path) -> list[tuple[int, Head]]:
    """(line number, head) of every line. Raises InputError that names the first line which is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the head file {path} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})."
        ) from None
    heads = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told: dict[str, Any] = json.loads(line)
            head = Head(**told)
            if not (isinstance(head.rows, int) and all(isinstance(v, str) for k, v in told.items() if k != "rows")):
                raise TypeError
        except (ValueError, TypeError):
            raise InputError(
                f"{path}, line {number} is no head: it must be a JSON object with time, ledger, origin, rows and head."
            ) from None
        heads.append((number, head))
    return heads
