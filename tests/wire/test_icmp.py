from __future__ import annotations

import numpy as np

from dstmrouter.wire import icmp


def test_the_header_is_that_of_rfc_792_and_4443() -> None:
    octets = np.frombuffer(bytes.fromhex("0304beef00000578"), icmp.HEADER)[0]
    assert (octets["type"], octets["code"], octets["rest"]) == (3, 4, 1400)
    assert octets["checksum"].tobytes() == b"\xbe\xef"


def test_r24_only_questions_and_their_answers_are_surely_no_errors() -> None:
    questions = [kind for kind in range(256) if not icmp.ERROR4[kind]]
    assert questions == [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43]
