"""The smallest valid configuration files, to be spoiled by tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUTER: Final = """
[router]
name = "gw1"
[[port]]
interface = "eth0"
[tunnel]
tep6 = ["2001:db8:f::1"]
tep4 = "192.0.2.1"
[[pool]]
prefix = "203.0.113.0/24"
"""

SERVER: Final = """
[server]
name = "leases1"
[[pool]]
prefix = "203.0.113.0/24"
[tep]
tep6 = ["2001:db8:f::1"]
tep4 = "192.0.2.1"
"""

KEY: Final = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


def edited(document: str, old: str, new: str) -> str:
    """The document with `old`, which must be in it, replaced."""
    assert old in document
    return document.replace(old, new, 1)


def problems(load: Callable[[Path], object], path: Path, document: str) -> list[str]:
    """Lines that `load` reports for `document`, without the file's name."""
    path.write_text(document)
    with pytest.raises(ConfigError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]
