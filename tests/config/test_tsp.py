"""`[tsp]` of `server.toml`: defaults and checks between values."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.load import load_server
from dstmrouter.config.tsp import BROKER_OVERHEAD, BROKERS_LIMIT, TspSection
from dstmrouter.protocols.tsp_datagram import DATAGRAM_LIMIT, HEADER_LEN
from dstmrouter.protocols.tsp_frame import frame
from dstmrouter.protocols.tsp_status import Status
from dstmrouter.protocols.tsp_xml import Action, Tunnel, encode
from tests.config.documents import SERVER, problems

if TYPE_CHECKING:
    from pathlib import Path

USERS = 'users_file = "/etc/dstm/tsp-users"\n'
TLS = '[tsp.tls]\ncertificate = "/c.pem"\nkey = "/k.pem"\n'


def test_off_when_missing_and_safe_when_not(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(SERVER)
    assert load_server(file).tsp is None
    file.write_text(f"{SERVER}[tsp]\n{USERS}{TLS}")
    tsp = load_server(file).tsp
    assert tsp is not None
    assert (tsp.listen, tsp.port, tsp.mechanisms) == (
        (IPv6Address("::"),),
        3653,
        ("SCRAM-SHA-256",),
    )
    assert not (tsp.plain_without_tls)
    assert not (tsp.anonymous_udp)
    assert not (tsp.release_on_close)
    assert tsp.tls is not None
    assert tsp.tls.port == 3655


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("", "[tsp] users_file is missing: expected the file that `dstmctl tsp-user` keeps"),
        (
            'mechanisms = ["ANONYMOUS", "PLAIN"]\n' + USERS,
            '[tsp] mechanisms #2 = "PLAIN": expected no password in the clear, '
            "or plain_without_tls = true",
        ),
        (
            'mechanisms = ["EXTERNAL"]',
            '[tsp] mechanisms #1 = "EXTERNAL": expected a mechanism that works without TLS',
        ),
        (
            'mechanisms = ["ANONYMOUS", "ANONYMOUS"]',
            '[tsp] mechanisms #2 = "ANONYMOUS": expected another value than #1 has',
        ),
        (
            'mechanisms = ["KERBEROS"]\n' + USERS,
            '[tsp] mechanisms #1 = "KERBEROS": expected "SCRAM',
        ),
        (
            "tcp = false\nudp = false\n" + USERS,
            "[tsp] tcp = false: expected tcp, udp or a [tsp.tls] section",
        ),
        (
            "keepalive_min_s = 301\n" + USERS,
            "[tsp] keepalive_min_s = 301: expected at most keepalive_max_s = 300",
        ),
        (
            f'brokers = ["{"b" * 253}", "{"c" * 253}", "{"d" * 253}", "{"e" * 253}"]\n{USERS}',
            "[tsp] brokers = [",
        ),
        (
            'redirect = "always"\n' + USERS,
            "[tsp] brokers is missing: expected at least one server, because of redirect",
        ),
        (
            'brokers = ["a b"]\n' + USERS,
            '[tsp] brokers #1 = "a b": expected an IPv6 address, an IPv4',
        ),
        (
            'listen = ["192.0.2.1"]\n' + USERS,
            '[tsp] listen #1 = "192.0.2.1": expected an IPv6 address',
        ),
        ('realm = "a\\"b"\n' + USERS, '[tsp] realm = "a\\"b": expected 1 to 63 letters'),
        (
            USERS + TLS + "port = 3653",
            "[tsp.tls] port = 3653: expected another port than [tsp] port = 3653",
        ),
        (
            USERS + TLS + 'mechanisms = ["EXTERNAL"]',
            "[tsp.tls] client_ca is missing: expected the file of the authority that signs clients",
        ),
    ],
)
def test_values_that_do_not_go_together(tmp_path: Path, section: str, line: str) -> None:
    found = problems(load_server, tmp_path / "s.toml", f"{SERVER}[tsp]\n{section}\n")
    assert [one for one in found if one.startswith(line)], found
    assert len(found) == 1


def test_leases_and_offers_must_suit_the_protocol(tmp_path: Path) -> None:
    document = f"{SERVER}[lease]\nmin_s = 1\ndefault_s = 59\noffer_s = 4\n[tsp]\n{USERS}"
    assert problems(load_server, tmp_path / "s.toml", document) == [
        "[lease] default_s = 59: expected at least 60, because [tsp] counts in minutes",
        "[lease] offer_s = 4: expected at least 5, for a client of [tsp] to accept",
    ]


def test_the_longest_list_of_servers_fits_a_datagram() -> None:
    names = ["b" * (BROKERS_LIMIT // 11 - BROKER_OVERHEAD)] * 11
    found = TspSection(mechanisms=("ANONYMOUS",), brokers=tuple(names), redirect="always")
    told = Tunnel(action=Action.LIST, type="broker", brokers=found.brokers)
    octets = frame(Status.NO_TUNNEL.line(redirected=True) + encode(told))
    assert len(octets) + HEADER_LEN <= DATAGRAM_LIMIT
