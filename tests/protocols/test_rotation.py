from __future__ import annotations

from dstmrouter.protocols.rotation import Rotation


def test_a_round_ends_with_the_last() -> None:
    servers = Rotation()
    servers.begin(2)
    assert servers.current == 0
    assert servers.advance()
    assert servers.current == 1
    assert not servers.advance()


def test_turns_pass_over_refusers_while_others_are_left() -> None:
    servers = Rotation()
    servers.begin(3)
    servers.refuse(1)
    seen = []
    for _ in range(3):
        servers.turn()
        seen.append(servers.current)
    assert seen == [2, 0, 2]
    assert not servers.all_refuse
    servers.refuse(0)
    servers.refuse(2)
    assert servers.all_refuse
    servers.turn()
    assert servers.current == 0
    servers.forgive()
    assert not servers.all_refuse


def test_a_single_server_is_asked_again() -> None:
    servers = Rotation()
    servers.begin(1)
    servers.turn()
    assert servers.current == 0
