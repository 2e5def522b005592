"""How a worker that finds no packets goes to sleep; times are told to it, nothing is waited for."""

from __future__ import annotations

from dstmrouter.daemon.idling import (
    POLL_MS,
    SENDING_POLL_MS,
    SOON_S,
    TURNS_MAX,
    TURNS_MIN,
    Idling,
)

SOON, LATE = SOON_S / 2, SOON_S * 2


def test_packets_that_come_soon_are_met_awake_next_time() -> None:
    idling = Idling()
    turns = [idling.turns]
    for _ in range(8):
        idling.slept(SOON, woken=True)
        turns.append(idling.turns)
    assert turns[:3] == [TURNS_MIN, 2 * TURNS_MIN, 4 * TURNS_MIN]
    assert turns[-1] == TURNS_MAX


def test_packets_that_come_late_do_not_keep_it_awake() -> None:
    idling = Idling()
    for _ in range(8):
        idling.slept(SOON, woken=True)
    turns = []
    for _ in range(8):
        idling.slept(LATE, woken=True)
        turns.append(idling.turns)
    assert turns[:2] == [TURNS_MAX // 2, TURNS_MAX // 4]
    assert turns[-1] == TURNS_MIN


def test_a_short_sleep_in_vain_is_no_packet() -> None:
    idling = Idling()
    idling.slept(SOON, woken=False)
    assert idling.turns == TURNS_MIN


def test_it_sleeps_less_while_frames_wait_to_be_sent_but_not_forever() -> None:
    idling = Idling()
    timeouts = [idling.timeout_ms(sending=True) for _ in range(12)]
    assert timeouts[:3] == [SENDING_POLL_MS, 2 * SENDING_POLL_MS, 4 * SENDING_POLL_MS]
    assert timeouts[-1] == POLL_MS
    assert sum(timeout < POLL_MS for timeout in timeouts) == 7  # turns in the first 127 ms
    assert idling.timeout_ms(sending=False) == POLL_MS
    assert idling.timeout_ms(sending=True) == SENDING_POLL_MS
