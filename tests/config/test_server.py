"""`server.toml`: defaults and checks between values."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.fields import Range4
from dstmrouter.config.load import load_server
from tests.config.documents import SERVER, edited, problems

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = 'prefix = "203.0.113.0/24"'


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[tep]", "[lease]\nmin_s = 90000\n[tep]", "[lease] min_s = 90000: expected at most max_s"),
        (
            "[tep]",
            "[lease]\ndefault_s = 30\n[tep]",
            "[lease] default_s = 30: expected a value from min_s = 60 to max_s = 86400",
        ),
        (PREFIX, "", "[[pool]] #1 prefix is missing: expected either prefix, or first and last"),
        (
            PREFIX,
            PREFIX + '\nfirst = "192.0.2.1"',
            '[[pool]] #1 prefix = "203.0.113.0/24": expected either prefix, or first and last',
        ),
        (
            PREFIX,
            'first = "192.0.2.1"',
            "[[pool]] #1 last is missing: expected first and last together",
        ),
        (
            PREFIX,
            PREFIX + '\nlast = "192.0.2.1"',
            '[[pool]] #1 last = "192.0.2.1": expected first and last together',
        ),
        (
            PREFIX,
            'first = "192.0.2.9"\nlast = "192.0.2.1"',
            '[[pool]] #1 last = "192.0.2.1": expected an address from first = 192.0.2.9 on',
        ),
        (
            PREFIX,
            PREFIX + '\nexclude = ["203.0.113.1", "192.0.2.1"]',
            '[[pool]] #1 exclude #2 = "192.0.2.1": expected addresses within 203.0.113.0/24',
        ),
        (
            PREFIX,
            PREFIX + '\n[[pool]]\nfirst = "203.0.113.200"\nlast = "203.0.114.9"',
            '[[pool]] #2 first = "203.0.113.200": expected no overlap with [[pool]] #1, '
            "which is 203.0.113.0/24",
        ),
        (
            "[tep]",
            '[feed]\nrequired = ["a", "b", "a"]\n[tep]',
            '[feed] required #3 = "a": expected another value than #1 has',
        ),
        (
            "[tep]",
            '[feed]\nbind = "ipc:///x"\ncontrol = "ipc:///x"\n[tep]',
            '[feed] control = "ipc:///x": expected another endpoint than bind',
        ),
        (
            "[tep]",
            '[control]\nbind = "ipc:///run/dstm-server/feed"\n[tep]',
            '[control] bind = "ipc:///run/dstm-server/feed": '
            "expected another endpoint than those of [feed]",
        ),
        (
            "[tep]",
            '[store]\npath = "/a"\npostgresql = "dbname=d"\n[tep]',
            '[store] path = "/a": expected either path or postgresql',
        ),
        ("[tep]", '[store]\npostgresql = ""\n[tep]', "[store] postgresql"),
        (
            "[tep]",
            '[control]\nbind = "tcp://*:5703"\n[tep]',
            "curve is missing: expected a [curve] section with secret_key_file, "
            "because of tcp://*:5703",
        ),
    ],
)
def test_values_that_do_not_go_together(tmp_path: Path, old: str, new: str, line: str) -> None:
    (found,) = problems(load_server, tmp_path / "s.toml", edited(SERVER, old, new))
    assert found.startswith(line)


def test_pool_spans(tmp_path: Path) -> None:
    document = SERVER + '[[pool]]\nfirst = "192.0.2.1"\nlast = "192.0.2.9"\n'
    (tmp_path / "s.toml").write_text(document)
    pools = load_server(tmp_path / "s.toml").pool
    assert [pool.span for pool in pools] == [
        Range4(IPv4Address("203.0.113.0"), IPv4Address("203.0.113.255")),
        Range4(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.9")),
    ]
