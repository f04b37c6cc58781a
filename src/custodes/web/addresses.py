"""Which hosts webhooks may go to: the public ones, whatever form an address is written in, or those that are named."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from custodes.types import InputError

Number = ipaddress.IPv4Address | ipaddress.IPv6Address
UNICAST = ipaddress.IPv6Network("2000::/3")
"""The IPv6 addresses that are given to anybody; all others are for special uses, most of them internal."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is reached."""
INTERNAL = [ipaddress.IPv6Network(network) for network in ("3fff::/20", "2001:db8::/32")]
MAPPED, TRANSLATED, COMPATIBLE = "::ffff:0:0/96", "::ffff:0:0:0/96", "::/96"
CARRIERS = [NAT64, *map(ipaddress.IPv6Network, ("64:ff9b:1::/48", MAPPED, TRANSLATED, COMPATIBLE))]
"""Networks whose addresses end with an IPv4 address."""


def check_url(url: str, hosts: Collection[str] | None = ()) -> tuple[str, str, int]:
    """(scheme, host, port) of a webhook's URL.

    ``hosts`` are the only ones that may be told, as HOST or HOST:PORT; with none, every public one may be. None: whoever
    delivers decides that, and only what hides an internal address in another form is refused. Raises InputError.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host.encode("idna")
    except (ValueError, UnicodeError) as error:
        raise InputError(f"url {url!r} is not possible ({error}).") from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password or port == 0:
        raise InputError(
            f"url {url!r} is not possible; give http:// or https:// and a host, without name and password."
        )
    port = port or (443 if parts.scheme == "https" else 80)
    if hosts:
        if not {host, f"{host}:{port}"} & {name.lower() for name in hosts}:
            raise InputError(f"{host}:{port} is not among the hosts that webhooks may go to.")
    elif (number := _literal(host)) is not None:
        plain = str(number) == host.partition("%")[0] and not list(_carried(number))
        if not public(number) and (hosts is not None or not plain):
            raise not_public(host)
    elif hosts is not None and (host == "localhost" or host.endswith((".localhost", ".local", ".internal"))):
        raise not_public(host)
    return parts.scheme, host, port


def not_public(host: str) -> InputError:
    return InputError(f"{host} is not a public address; name it in --webhook-hosts if it is meant.")


def public(number: Number) -> bool:
    """Whether an address can be reached from everywhere, and so can every address that it stands for."""
    if isinstance(number, ipaddress.IPv4Address):
        return number.is_global and not number.is_multicast
    if not all(map(public, _carried(number))):
        return False
    if number in NAT64 or number.ipv4_mapped is not None:
        return True
    return number in UNICAST and number.is_global and not any(number in network for network in INTERNAL)


def _carried(number: Number) -> Iterator[Number]:
    """The IPv4 addresses that an IPv6 address stands for: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP."""
    if isinstance(number, ipaddress.IPv4Address):
        return
    isatap = int(number) >> 32 & 0xFDFFFFFF == 0x5EFE
    if isatap or (any(number in network for network in CARRIERS) and int(number) > 1):
        yield ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
    if number.sixtofour is not None:
        yield number.sixtofour
    yield from number.teredo or ()


def _literal(host: str) -> Number | None:
    """The address that a host is, where it is no name; also in the forms that the system's resolver knows (127.1, 0x7f000001)."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return ipaddress.ip_address(str(entries[0][4][0]).partition("%")[0])
    except (OSError, UnicodeError, ValueError):
        return None
