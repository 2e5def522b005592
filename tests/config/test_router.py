"""`router.toml`: defaults and checks between values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.load import load_router
from dstmrouter.config.router import FeedSource, PortConfig
from tests.config.documents import KEY, ROUTER, edited, problems

if TYPE_CHECKING:
    from pathlib import Path

REMOTE_FEED = '[[feed]]\nserver = "s"\nfeed = "tcp://[::1]:1"\ncontrol = "ipc:///c"\n'


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (
            "[tunnel]",
            "[umem]\nframes = 6143\n[tunnel]",
            [
                "[umem] frames = 6143: expected at least 6144 "
                "(ports: 1, each with fill_slots = 4096 and tx_slots = 2048)"
            ],
        ),
        (
            "[tunnel]",
            "[tunnel]\nmtu = 1775",
            ["[tunnel] mtu = 1775: expected at most 1774 with [umem] chunk_size = 2048"],
        ),
        (
            'name = "gw1"',
            'name = "gw1"\nworkers = 3\ncpus = [0, 0]',
            [
                "[router] cpus = [0, 0]: expected at least 3 CPUs for 3 workers, or none",
                "[router] cpus = [0, 0]: expected each CPU once",
            ],
        ),
        (
            'interface = "eth0"',
            'interface = "eth0"\n[[port]]\ninterface = "eth0"',
            ['[[port]] #2 interface = "eth0": expected another value than #1 has'],
        ),
        (
            '"2001:db8:f::1"',
            '"2001:db8:f::1", "2001:DB8:F::1"',
            ['[tunnel] tep6 #2 = "2001:DB8:F::1": expected another value than #1 has'],
        ),
        ("[tunnel]", REMOTE_FEED + "[tunnel]", None),
        (
            "[tunnel]",
            f'{REMOTE_FEED}server_key = "{KEY}"\n[tunnel]',
            [
                "curve is missing: expected a [curve] section with secret_key_file, "
                "because of tcp://[::1]:1"
            ],
        ),
    ],
)
def test_values_that_do_not_go_together(
    tmp_path: Path, old: str, new: str, lines: list[str] | None
) -> None:
    expected = lines or [
        "[[feed]] #1 server_key is missing: "
        "expected the server's public key, because of tcp://[::1]:1"
    ]
    assert problems(load_router, tmp_path / "r.toml", edited(ROUTER, old, new)) == expected


def test_values_at_the_limit_fit(tmp_path: Path) -> None:
    document = edited(ROUTER, "[tunnel]", "[umem]\nframes = 6144\n[tunnel]\nmtu = 1774")
    (tmp_path / "r.toml").write_text(document)
    assert load_router(tmp_path / "r.toml").tunnel.mtu == 1774


def test_the_kernel_keeps_tagged_traffic_on_its_own_interface() -> None:
    def addressed(vlan: int | None, kernel: str | None) -> str:
        port = PortConfig(interface="eth0", vlan=vlan, kernel_interface=kernel)
        return port.addressed_interface

    assert addressed(None, None) == "eth0"
    assert addressed(7, None) == "eth0.7"
    assert addressed(7, "isp") == "isp"


ONE_ARMED = """vlan = 100
[[port]]
interface = "eth0"
vlan = 200
[umem]"""


def test_ports_share_an_interface_by_their_tags(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(edited(ROUTER, "[tunnel]", f"{ONE_ARMED}\n[tunnel]"))
    ports = load_router(file).port
    assert [port.name for port in ports] == ["eth0.100", "eth0.200"]
    assert [port.addressed_interface for port in ports] == ["eth0.100", "eth0.200"]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (
            "vlan = 200",
            "vlan = 100",
            ['[[port]] #2 interface = "eth0": expected another value than #1 has'],
        ),
        (
            "vlan = 200",
            'vlan = 200\nkernel_interface = "eth0.100"',
            ['[[port]] #2 kernel_interface = "eth0.100": expected another value than #1 has'],
        ),
        (
            "vlan = 200",
            'vlan = 200\nmode = "generic"\nbusy_poll = true',
            [
                '[[port]] #2 mode = "generic": expected that of #1, which has the same interface',
                "[[port]] #2 busy_poll = true: expected that of #1, which has the same interface",
            ],
        ),
    ],
)
def test_ports_of_one_interface_that_do_not_fit(
    tmp_path: Path, old: str, new: str, lines: list[str]
) -> None:
    document = edited(ROUTER, "[tunnel]", f"{edited(ONE_ARMED, old, new)}\n[tunnel]")
    assert problems(load_router, tmp_path / "r.toml", document) == lines


@pytest.mark.parametrize("mode", ["native-zerocopy", "packet_mmap"])
def test_xdp_frames_are_for_sockets_that_copy(tmp_path: Path, mode: str) -> None:
    new = f'interface = "eth0"\ntransmit = "xdp-frames"\nmode = "{mode}"'
    document = edited(ROUTER, 'interface = "eth0"', new)
    assert problems(load_router, tmp_path / "r.toml", document) == [
        f'[[port]] #1 transmit = "xdp-frames": expected auto or socket with mode = {mode}'
    ]


@pytest.mark.parametrize(("chunk_size", "most"), [(2048, 262_140), (4096, 131_070)])
def test_memory_to_send_xdp_frames_from_has_a_limit(
    tmp_path: Path, chunk_size: int, most: int
) -> None:
    frames = edited(ROUTER, 'interface = "eth0"', 'interface = "eth0"\ntransmit = "xdp-frames"')

    def document(number: int) -> str:
        umem = f"[umem]\nchunk_size = {chunk_size}\nframes = {number}\n[tunnel]"
        return edited(frames, "[tunnel]", umem)

    file = tmp_path / "r.toml"
    file.write_text(document(most))
    assert load_router(file).umem.frames == most
    assert problems(load_router, file, document(most + 1)) == [
        f'[umem] frames = {most + 1}: expected at most {most} with [[port]] transmit = "xdp-frames"'
    ]


def test_servers_of_one_store_are_one_source() -> None:
    def source(server: str, store: str | None) -> str:
        feed = f"ipc:///{server}"
        return FeedSource(server=server, feed=feed, control=f"{feed}c", store=store).source

    assert source("a", "leases") == source("b", "leases")
    assert len({source("a", None), source("b", None), source("x", "a"), source("x", "b")}) == 4


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ttl = 0", "ttl = 0: expected an integer between 1 and 255"),
        (
            "icmpv4_rate = 0",
            "icmpv4_rate = 0: expected an integer between 1 and 1000000 (a second)",
        ),
        ("prefix_length6 = 65", "prefix_length6 = 65: expected an integer between 32 and 64"),
        (
            'access_prefixes = ["2001:db8::1/64"]',
            'access_prefixes #1 = "2001:db8::1/64": '
            "expected an IPv6 prefix without host bits, like 2001:db8::/32",
        ),
    ],
)
def test_icmp_settings_are_checked(tmp_path: Path, line: str, expected: str) -> None:
    document = edited(ROUTER, "[tunnel]", f"[icmp]\n{line}\n[tunnel]")
    assert problems(load_router, tmp_path / "r.toml", document) == [f"[icmp] {expected}"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("interval_s = 1", "bind is missing: expected a value"),
        (
            'bind = "tcp://[::1]:9"',
            "[curve] section with secret_key_file, because of tcp://[::1]:9",
        ),
        ('bind = "ipc:///a"\ninterval_s = 0', "expected seconds between 0.1 and 3600"),
        ('bind = "ipc:///run/dstm-router/control"', "another endpoint than [router] control"),
    ],
)
def test_the_feed_of_usage_is_checked(tmp_path: Path, lines: str, expected: str) -> None:
    document = f"{ROUTER}[usage_feed]\n{lines}\n"
    [problem] = problems(load_router, tmp_path / "r.toml", document)
    assert expected in problem


def test_the_feed_of_usage_is_off_by_default(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(ROUTER)
    assert load_router(file).usage_feed is None
    file.write_text(ROUTER + '[usage_feed]\nbind = "ipc:///a"\n')
    section = load_router(file).usage_feed
    assert section is not None
    assert section.interval_s == 10
