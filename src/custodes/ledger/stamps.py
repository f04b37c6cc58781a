"""Time stamps of heads by an authority (RFC 3161): that a head existed at a time, on somebody else's word than the signer's.

What is stamped is the SHA-256 of the text that is signed. The authority's answer, with its certificates, is kept in the head
as base64. It is checked against the authority's root certificates, offline, and as of the time that it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodes.ledger.heads import Head
from custodes.types import InputError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

PATIENCE = 30.0
"""Seconds to wait for an authority."""


def stamp_head(head: Head, service: str) -> Head:
    """``head`` with the time stamp that the authority at the URL ``service`` gives it.

    Raises InputError where the authority cannot be reached, refuses, or answers about something else.
    """
    import httpx  # a tenth of a second to import

    client = _client()
    try:
        request = client.TimestampRequestBuilder().data(head.signed_text()).hash_algorithm(client.HashAlgorithm.SHA256)
        asked = request.build()
        answer = httpx.post(
            service,
            content=asked.as_bytes(),
            headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
            timeout=PATIENCE,
            follow_redirects=True,
        )
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise InputError(
            f"the time-stamp service {service} answered {error.response.status_code}; nothing was kept."
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InputError(
            f"the time-stamp service {service} cannot be reached ({error or type(error).__name__}); nothing was kept."
        ) from None
    try:
        told = client.decode_timestamp_response(answer.content)
        right = told.tst_info.nonce == asked.nonce and told.tst_info.message_imprint.message == _imprint(head)
    except ValueError:
        raise InputError(f"the time-stamp service {service} gave no time stamp; nothing was kept.") from None
    if not right:
        raise InputError(f"the time-stamp service {service} stamped something else; nothing was kept.")
    return replace(head, stamp=base64.b64encode(answer.content).decode())


def read_roots(path: Path) -> Sequence[Certificate]:
    """Certificates of authorities that are trusted, from a PEM file. Raises InputError where there are none."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise InputError(f"the certificates {path} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise InputError(f"{path} holds no certificates; give the roots of the time-stamp authority as PEM.") from None


def stamped_at(head: Head, roots: Sequence[Certificate]) -> str:
    """The time (UTC, ISO 8601) at which an authority under one of ``roots`` saw ``head``.

    Raises ValueError, which says what is wrong with the stamp.
    """
    client = _client()
    builder = client.VerifierBuilder(roots=list(roots))
    try:
        told = client.decode_timestamp_response(base64.b64decode(head.stamp, validate=True))
        builder.build().verify(told, _imprint(head))
    except client.VerificationError as error:
        raise ValueError(str(error).partition(": ErrorStack")[0].rstrip(".")) from None
    return str(told.tst_info.gen_time.astimezone(UTC).isoformat(timespec="seconds"))


def _imprint(head: Head) -> bytes:
    return hashlib.sha256(head.signed_text()).digest()


def _client() -> Any:
    try:
        import rfc3161_client
    except ModuleNotFoundError:
        raise InputError(
            "time stamps need rfc3161-client, which is not installed: pip install 'custodes[stamp]'."
        ) from None
    return rfc3161_client
