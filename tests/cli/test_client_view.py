from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dstmrouter.cli.client_view import show_status

if TYPE_CHECKING:
    import pytest

LEASING: dict[str, Any] = {
    "state": "BOUND",
    "meaning": "has a lease",
    "lease": {"client4": "203.0.113.1", "client6": "2001:db8::7", "tep6": "2001:db8:f::1"},
    "server": "gw",
    "protocol": "tsp",
    "error": None,
    "t1_in_s": 449.6,
    "t2_in_s": 787.5,
    "expires_in_s": 899.6,
    "retry_in_s": None,
}
FACTS: dict[str, Any] = {
    "name": "dti0",
    "running": True,
    "pid": 17,
    "kind": "tun",
    "counters": {"out_sent": {"packets": 3, "octets": 252}},
    "leasing": LEASING,
}


def test_a_lease_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(FACTS, as_json=False)
    said = capsys.readouterr().out
    assert said.splitlines()[:7] == [
        "dti0: tun, running, process 17",
        "BOUND: has a lease",
        "203.0.113.1 through 2001:db8::7 to 2001:db8:f::1",
        "lent by gw over tsp",
        "asks its server again in 450 s",
        "asks any server in 788 s",
        "lease ends in 900 s",
    ]
    assert "sent to the tunnel end point" in said


def test_a_share_of_an_address_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    lease = LEASING["lease"] | {"port_set": "6/8/52"}
    show_status(FACTS | {"leasing": LEASING | {"lease": lease}}, as_json=False)
    line = "203.0.113.1 (port set 6/8/52) through 2001:db8::7 to 2001:db8:f::1"
    assert line in capsys.readouterr().out.splitlines()
    static = {key: value for key, value in FACTS.items() if key != "leasing"} | lease
    show_status(static | {"ends": lease}, as_json=False)
    assert line in capsys.readouterr().out.splitlines()


def test_no_lease_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    leasing = LEASING | {"state": "INIT", "meaning": "no lease", "lease": None, "error": "no!"}
    leasing |= {"t1_in_s": None, "t2_in_s": None, "expires_in_s": None, "retry_in_s": 4.2}
    facts = {"name": "dti0", "running": True, "pid": 17, "counters": {}, "leasing": leasing}
    show_status(facts, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "dti0: no tunnel, running, process 17",
        "INIT: no lease",
        "next try in 4 s",
        "last refusal: no!",
    ]


def test_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(FACTS, as_json=True)
    assert json.loads(capsys.readouterr().out) == FACTS
