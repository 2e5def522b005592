"""The constants against the kernel's headers, where they are installed (linux-libc-dev)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dstmrouter.io import uapi

if TYPE_CHECKING:
    import enum

INCLUDE = Path("/usr/include/linux")
NEWER_THAN_HEADERS = {"XDP_MAX_TX_SKB_BUDGET", "TCX_INGRESS"}  # those of Linux 6.1 may be installed


def header(name: str) -> str:
    path = INCLUDE / name
    if not path.exists():
        pytest.skip(f"no {path}")
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def defines(text: str) -> dict[str, int]:
    """The `#define`s whose value is a number or a shifted 1."""
    found = {}
    for name, value in re.findall(r"^#define\s+(\w+)\s+(.+?)\s*$", text, re.MULTILINE):
        number = re.fullmatch(r"(?:\(1U?\s*<<\s*(\d+)\))|(0x[0-9a-fA-F]+|-?\d+)(?:ULL)?", value)
        if number is not None:
            shift, plain = number.groups()
            found[name] = 1 << int(shift) if shift else int(plain, 0)
    return found


def enumerators(text: str, name: str) -> dict[str, int]:
    """The members of `enum NAME`, counted as C does."""
    body = re.search(rf"enum {name} \{{(.*?)\}}", text, re.DOTALL)
    assert body is not None, f"no enum {name}"
    found: dict[str, int] = {}
    following = 0
    for member in filter(None, (part.strip() for part in body[1].split(","))):
        symbol, _, value = (part.strip() for part in member.partition("="))
        number = found.get(value, int(value, 0) if value.isdigit() else following)
        found[symbol] = number
        following = number + 1
    return found


def test_if_xdp_h() -> None:
    known = defines(header("if_xdp.h"))
    names = {n for n in dir(uapi) if re.match(r"XDP_(?!STATISTICS_FIELDS|FLAGS)", n)}
    checked = {n for n in names if n in known}
    assert {n: getattr(uapi, n) for n in checked} == {n: known[n] for n in checked}
    assert names - checked - NEWER_THAN_HEADERS == {"XDP_RING_OFFSET", "XDP_UMEM_REG_ARG"}


def test_if_link_h() -> None:
    known = defines(header("if_link.h"))
    assert known["XDP_FLAGS_SKB_MODE"] == uapi.XDP_FLAGS_SKB_MODE
    assert known["XDP_FLAGS_DRV_MODE"] == uapi.XDP_FLAGS_DRV_MODE


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (uapi.BpfCommand, "bpf_cmd", "BPF_"),
        (uapi.BpfMapType, "bpf_map_type", "BPF_MAP_TYPE_"),
        (uapi.BpfProgType, "bpf_prog_type", "BPF_PROG_TYPE_"),
        (uapi.BpfAttachType, "bpf_attach_type", "BPF_"),
        (uapi.XdpAction, "xdp_action", "XDP_"),
    ],
)
def test_enumerations_of_bpf_h(ours: type[enum.IntEnum], theirs: str, prefix: str) -> None:
    known = enumerators(header("bpf.h"), theirs)
    members = [m for m in ours if m.name not in NEWER_THAN_HEADERS]
    assert {m.name: m.value for m in members} == {m.name: known[prefix + m.name] for m in members}


def test_offsets_in_the_contexts_of_programs() -> None:
    text = header("bpf.h")
    for struct, ours in (("__sk_buff", uapi.SkBuff), ("xdp_md", uapi.XdpMd)):
        body = re.search(rf"struct {struct} \{{(.*?)\}};", text, re.DOTALL)
        assert body is not None
        offset = 0
        offsets = {}
        for name, count in re.findall(r"__u32 (\w+)(?:\[(\d+)\])?;", body[1]):
            offsets[name.upper()] = offset
            offset += 4 * int(count or 1)
        assert {m.name: m.value for m in ours} == {m.name: offsets[m.name] for m in ours}


def test_sizes_of_structures() -> None:
    assert uapi.SOCKADDR_XDP.size == 16
    assert uapi.XDP_UMEM_REG_ARG.size == 32
    assert uapi.XDP_RING_OFFSET.size == 32
