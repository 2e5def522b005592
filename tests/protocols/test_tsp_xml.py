from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.protocols.tsp_status import TspError
from dstmrouter.protocols.tsp_xml import (
    BROKER_LIMIT,
    Action,
    End,
    Keepalive,
    Prefix,
    Tunnel,
    address_kind,
    decode,
    encode,
)
from tests.protocols.tsp_samples import (
    ACCEPT,
    CLIENT6,
    CREATE,
    DELETE,
    GIVEN,
    INFO,
    QUERY,
    WISH,
    framed,
)

ACCEPTED = Tunnel(action=Action.ACCEPT, type=None)
GIVEN_BACK = Tunnel(action=Action.DELETE, client=End(ipv6=CLIENT6))


@pytest.mark.parametrize(
    ("tunnel", "octets", "length"),
    [
        (WISH, CREATE, 192),
        (GIVEN, b"200 Success\r\n" + INFO, 389),
        (ACCEPTED, ACCEPT, 35),
        (GIVEN_BACK, DELETE, 115),
        (Tunnel(action=Action.INFO), QUERY, 45),
    ],
    ids=["create", "info", "accept", "delete", "query"],
)
def test_bodies_are_those_of_the_specification(tunnel: Tunnel, octets: bytes, length: int) -> None:
    status = octets.startswith(b"200") * len(b"200 Success\r\n")
    assert encode(tunnel) == octets[status:]
    assert len(octets) == length
    assert decode(octets[status:]) == dataclasses.replace(tunnel, type="v4v6")


DEPLOYED = (
    b'<tunnel action="create" type="v4v6" proxy="no">\r\n <client>\r\n  <address type="ipv6">::1'
    b'</address>\r\n  <keepalive interval="5">\r\n    <address type="ipv4">127.0.0.1</address>\r\n'
    b"  </keepalive>\r\n </client>\r\n</tunnel>\r\n"
)


def test_a_deployed_client_s_request_is_understood() -> None:
    assert framed(DEPLOYED).startswith(b"Content-length: 211\r\n")
    keepalive = Keepalive(interval_s=5, address=IPv4Address("127.0.0.1"))
    client = End(ipv6=IPv6Address("::1"), keepalive=keepalive)
    assert decode(DEPLOYED) == Tunnel(action=Action.CREATE, client=client)


@pytest.mark.parametrize(
    ("inside", "prefix"),
    [
        (b'<prefix length="24"/>', Prefix(length=24)),
        (
            b'<prefix length="24">192.0.2.0</prefix>',
            Prefix(length=24, address=IPv4Address("192.0.2.0")),
        ),
        (
            b'<prefix length="32"> <address type="ipv4">192.0.2.7</address></prefix>',
            Prefix(length=32, address=IPv4Address("192.0.2.7")),
        ),
    ],
)
def test_a_router_s_prefix_as_text_and_as_element(inside: bytes, prefix: Prefix) -> None:
    body = b'<tunnel action="create"><client><router>%s</router></client></tunnel>' % inside
    client = decode(body).client
    assert client is not None
    assert client.prefix == prefix
    assert decode(encode(Tunnel(action=Action.CREATE, client=client))).client == client


def test_lists_of_brokers_keep_their_order() -> None:
    names = ("2001:db8::1", "192.0.2.1", "tsp.example.net")
    assert [address_kind(name) for name in names] == ["ipv6", "ipv4", "dn"]
    body = encode(Tunnel(action=Action.LIST, type="broker", brokers=names))
    assert body.startswith(b'<tunnel action="list" type="broker"><broker><address type="ipv6">')
    assert decode(body).brokers == names
    many = b"<broker>%s</broker>" % (b'<address type="dn">a</address>' * 60)
    body = b'<tunnel action="list">%s</tunnel>' % many
    assert decode(body).brokers == ("a",) * BROKER_LIMIT
    odd = '<tunnel action="list"><broker><address>a b\tc</address><address/></broker></tunnel>'
    assert decode(odd.encode()).brokers == ()


BOMB = (
    b'<!DOCTYPE t [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    b'<tunnel action="create"><client><address type="ipv6">&b;</address></client></tunnel>'
)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 500),
        (b"hello", 500),
        (b"<tunnel", 500),
        (b"<tunnel/>", 500),
        (b'<tunnel action="make"/>', 500),
        (b'<other action="create"/>', 500),
        (b'<t:tunnel xmlns:t="urn:x" action="create"/>', 500),
        (b'<tunnel action="create" lifetime="-1"/>', 500),
        (b'<tunnel action="create" lifetime="99999999999"/>', 500),
        ('<tunnel action="create" lifetime="\u0661"/>'.encode(), 500),
        (b'<tunnel action="create"/>\xff', 500),
        (
            b'<?xml version="1.0" encoding="utf-16"?><tunnel action="create"/>'.replace(
                b"<tu", b"\xfe"
            ),
            500,
        ),
        (b"<!DOCTYPE tunnel SYSTEM 'http://192.0.2.9/x.dtd'><tunnel action='info'/>", 500),
        (BOMB, 500),
        (b'<tunnel action="info">&x;</tunnel>', 500),
        (b'<tunnel action="info">' + b"<a>" * 9 + b"</a>" * 9 + b"</tunnel>", 500),
        (b'<tunnel action="info">' + b"<a/>" * 300 + b"</tunnel>", 500),
        (b'<tunnel action="create"><client><keepalive/></client></tunnel>', 500),
        (b'<tunnel action="create"><client><router><prefix/></router></client></tunnel>', 500),
        (
            b'<tunnel action="create"><client><address type="ipv4">x</address></client></tunnel>',
            501,
        ),
        (b'<tunnel action="create"><client><address type="ipv6"/></client></tunnel>', 502),
    ],
)
def test_what_cannot_be_used_has_a_status(body: bytes, status: int) -> None:
    with pytest.raises(TspError) as refused:
        decode(body)
    assert refused.value.status == status


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: f"<tunnel>{text}".encode()))
def test_any_octets_are_a_body_or_an_error(body: bytes) -> None:
    try:
        found = decode(body)
    except TspError:
        return
    assert isinstance(found.action, Action)


ipv4s = st.none() | st.ip_addresses(v=4)
ends = st.builds(
    End,
    ipv4=ipv4s,
    ipv6=st.none() | st.integers(0, (1 << 128) - 1).map(IPv6Address),
    keepalive=st.none() | st.builds(Keepalive, interval_s=st.integers(0, 86400), address=ipv4s),
    prefix=st.none() | st.builds(Prefix, length=st.integers(0, 32), address=ipv4s),
)


@given(
    st.builds(
        Tunnel,
        action=st.sampled_from(Action),
        lifetime_min=st.none() | st.integers(0, 70_000_000),
        lease_s=st.none() | st.integers(0, 4_000_000_000),
        server=st.none() | ends,
        client=st.none() | ends,
    )
)
def test_a_body_is_read_as_it_was_written(tunnel: Tunnel) -> None:
    assert decode(encode(tunnel)) == tunnel
