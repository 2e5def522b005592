"""The loader: what it says about files that are wrong, and that the shipped examples are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.config import load
from dstmrouter.config.client import ClientConfig
from dstmrouter.config.load import load_router, load_server
from dstmrouter.config.model import Section
from dstmrouter.config.router import RouterConfig
from dstmrouter.config.server import ServerConfig
from dstmrouter.errors import ConfigError
from tests.config.documents import ROUTER, SERVER, edited, problems

if TYPE_CHECKING:
    from collections.abc import Iterator

CONF = Path(__file__).parents[2] / "conf"


def test_smallest_files_load(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(ROUTER)
    (tmp_path / "s.toml").write_text(SERVER)
    assert load_router(tmp_path / "r.toml").router.name == "gw1"
    assert load_server(str(tmp_path / "s.toml")).server.name == "leases1"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "[tunnel]",
            "[umem]\nrx_slotz = 64\n[tunnel]",
            "[umem] rx_slotz = 64: unknown key, expected rx_slots or tx_slots",
        ),
        (
            'name = "gw1"',
            'name = "gw1"\nworkers = "2"',
            '[router] workers = "2": expected an integer between 1 and 64',
        ),
        (
            'tep6 = ["2001:db8:f::1"]',
            'tep6 = ["2001:db8:f::1", "fe80::1"]',
            '[tunnel] tep6 #2 = "fe80::1": expected a global or unique local unicast IPv6 address '
            "(not link-local, multicast, loopback, unspecified or IPv4-mapped)",
        ),
        (
            "[tunnel]",
            "[umem]\nrx_slots = 1000\n[tunnel]",
            "[umem] rx_slots = 1000: expected a power of two between 64 and 65536",
        ),
        (
            'prefix = "203.0.113.0/24"',
            'prefix = "203.0.113.0/24"\n[[pool]]\nprefix = "203.0.113.128/25"',
            '[[pool]] #2 prefix = "203.0.113.128/25": '
            "expected no overlap with [[pool]] #1, which is 203.0.113.0/24",
        ),
        (
            'prefix = "203.0.113.0/24"',
            'prefix = "203.0.113.1/24"',
            '[[pool]] #1 prefix = "203.0.113.1/24": '
            "expected a prefix without host bits, 203.0.113.0/24",
        ),
        ('tep4 = "192.0.2.1"', "", "[tunnel] tep4 is missing: expected a value"),
        ('[[port]]\ninterface = "eth0"', "", "port is missing: expected a value"),
        ("[[port]]", "[port]", "[port]: expected an array of 1 to 8 ports"),
        (
            "[tunnel]",
            "[tunnel]\nhairpin = 1",
            "[tunnel] hairpin = 1: expected true or false",
        ),
        (
            'interface = "eth0"',
            'interface = "eth0"\nmode = "dpdk"',
            '[[port]] #1 mode = "dpdk": expected "auto", "native-zerocopy", "native-copy", '
            '"generic" or "packet_mmap"',
        ),
        (
            "[tunnel]",
            '[[curve.allowed]]\nname = "x"\npublic_key = "short"\n[curve]\n'
            'secret_key_file = "/k"\n[tunnel]',
            '[[curve.allowed]] #1 public_key = "short": expected a Z85 public key of 40 characters',
        ),
        ("[tunnel]", "[umm]\n[tunnel]", "[umm]: unknown key, expected umem"),
        ("[tunnel]", "umem = 3\n[tunnel]", None),  # belongs to [[port]]
    ],
)
def test_one_problem_is_one_line(tmp_path: Path, old: str, new: str, line: str | None) -> None:
    expected = line or (
        "[[port]] #1 umem = 3: unknown key, "
        "expected one of interface, mode, vlan, kernel_interface, busy_poll, transmit, filter_in, "
        "filter_out"
    )
    assert problems(load_router, tmp_path / "x.toml", edited(ROUTER, old, new)) == [expected]


def test_all_problems_are_shown(tmp_path: Path) -> None:
    document = edited(ROUTER, '"gw1"', "1").replace('"eth0"', '"a b"')
    found = problems(load_router, tmp_path / "x.toml", document)
    assert [line.split(" = ")[0] for line in found] == ["[router] name", "[[port]] #1 interface"]


def test_values_are_shown_on_one_short_line(tmp_path: Path) -> None:
    document = edited(ROUTER, '"gw1"', '"""\na"\n' + "x" * 200 + '"""')
    (line,) = problems(load_router, tmp_path / "x.toml", document)
    assert line.startswith('[router] name = "a\\"\\nxxx')
    assert "xxx...: expected" in line
    assert len(line) < 150


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[router", "Expected"),
        (b'[router]\nname = "a"\nname = "b"\n', "Cannot overwrite a value (at line 3"),
        (b'[router]\nname = "\xff"\n', "octet 17: expected UTF-8"),
    ],
)
def test_files_that_are_no_toml(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {said}")) as caught:
        load_router(path)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory$"):
        load_server(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"Is a directory$"):
        load_server(tmp_path)


TOML_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.untraced
@given(
    st.sampled_from(["router", "port", "umem", "tunnel", "pool", "table", "feed", "curve"]),
    TOML_VALUES,
)
def test_any_value_anywhere_is_reported_not_raised(section: str, value: object) -> None:
    document: dict[str, Any] = {section: value}
    with pytest.raises(ConfigError) as caught:
        load._checked(Path("x.toml"), document, RouterConfig)
    assert all(re.match(r"x\.toml: .*expected ", line) for line in str(caught.value).split("\n"))


def section_keys(model: type[Section], name: str = "") -> Iterator[tuple[str, str]]:
    """(section, key) for every plain value of a model, sections as in TOML headers."""
    for key, field in model.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            yield name, key
        else:
            yield from section_keys(inner, f"{name}.{key}".lstrip("."))


def section_of(annotation: object) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((s for a in get_args(annotation) if (s := section_of(a))), None)


def documented_keys(text: str) -> set[tuple[str, str]]:
    """(section, key) for every key of a file, commented out or not, that has a comment above."""
    found = set()
    section, commented = "", False
    for line in text.splitlines():
        header = re.fullmatch(r"\[+([a-z_.]+)\]+", line)
        key = re.match(r"(?:# )?([a-z0-9_]+) = ", line)
        if header:
            section = header[1]
        elif key and commented:
            found.add((section, key[1]))
        commented = line.startswith("#") or (bool(key or header) and commented)
    return found


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("router.toml", RouterConfig),
        ("server.toml", ServerConfig),
        ("client.toml", ClientConfig),
    ],
)
def test_examples_explain_every_key(name: str, model: type[Section]) -> None:
    wanted = set(section_keys(model))
    first_last = {("pool", "first"), ("pool", "last")} & wanted  # explained above the first pool
    assert wanted - documented_keys((CONF / name).read_text()) - first_last == set()


def test_examples_load_and_fit_each_other() -> None:
    router = load_router(CONF / "router.toml")
    server = load_server(CONF / "server.toml")
    assert router.router.name in server.feed.required
    assert (router.tunnel.tep6, router.tunnel.tep4) == (server.tep.tep6, server.tep.tep4)
    assert (router.feed[0].feed, router.feed[0].control) == (server.feed.bind, server.feed.control)
    assert all(
        any(own.prefix.network_address <= lent.span.first for own in router.pool)
        for lent in server.pool
    )


def test_examples_show_the_defaults() -> None:
    router = load_router(CONF / "router.toml")
    assert router.umem == type(router.umem)()
    assert router.table == type(router.table)()
    assert router.router == type(router.router)(name=router.router.name)
    tunnel = router.tunnel
    assert tunnel == type(tunnel)(tep6=tunnel.tep6, tep4=tunnel.tep4)
    server = load_server(CONF / "server.toml")
    assert server.lease == type(server.lease)()
    assert server.store == type(server.store)()
    assert server.control == type(server.control)()
