from __future__ import annotations

import pytest

from dstmrouter.daemon.tsp_account import TspAccount, TspAddress
from dstmrouter.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tsp.example", TspAddress("tsp", "tsp.example", 3653)),
        ("tsps://[2001:db8::1]", TspAddress("tsps", "2001:db8::1", 3655)),
        ("tsp-udp://192.0.2.1:3545/", TspAddress("tsp-udp", "192.0.2.1", 3545)),
    ],
)
def test_addresses(text: str, address: TspAddress) -> None:
    assert TspAddress.parse(text) == address == TspAddress.parse(str(address))


@pytest.mark.parametrize(
    "text", ["", "http://x", "tsp://", "tsp://x:0", "tsp://x:70000", "2001::1"]
)
def test_other_texts_are_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="expected tsp://HOST"):
        TspAddress.parse(text)


def test_other_servers_offer_the_same_service() -> None:
    assert (
        str(TspAddress.parse("tsps://a:99").elsewhere("2001:db8::1")) == "tsps://[2001:db8::1]:99"
    )


def test_an_account_keeps_its_password_to_itself() -> None:
    assert "pencil" not in repr(TspAccount(user="ann", password="pencil"))
