"""Types of values that name a service of another host: port, and IPv6 address or DNS name."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Annotated, Final, TypeAlias

from dstmrouter.config.checks import parsed, whole

LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
NAME_LEN: Final = 253  # RFC 1035 section 2.3.4, without the root's empty label


def _host(value: str) -> str:
    if ":" in value:
        address = IPv6Address(value)
        if address.is_multicast or address.is_unspecified or address.ipv4_mapped is not None:
            raise ValueError
        return str(address)
    labels = value.removesuffix(".").split(".")
    if len(value) > NAME_LEN or not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError
    if labels[-1].isdigit():  # an IPv4 address, or nearly one: servers are asked over IPv6
        raise ValueError
    return value.lower()


Port: TypeAlias = Annotated[int, whole(1, 65535)]
Host: TypeAlias = Annotated[str, parsed(str, _host, "an IPv6 address or a DNS name")]
