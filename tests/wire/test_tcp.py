from __future__ import annotations

import numpy as np
from scapy.layers.inet import TCP

from dstmrouter.wire import tcp


def test_fields_are_where_scapy_puts_them() -> None:
    built = bytes(TCP(sport=1, dport=2, seq=3, ack=4, flags="SA", window=5, chksum=6, urgptr=7))
    header = np.frombuffer(built, tcp.HEADER)[0]
    assert [int(header[name]) for name in tcp.HEADER.names or ()] == [
        1,
        2,
        3,
        4,
        5 << 4,
        tcp.SYN | 0x10,
        5,
        6,
        7,
    ]


def test_the_option_is_that_of_scapy() -> None:
    options = bytes(TCP(options=[("NOP", None), ("MSS", 1460), ("EOL", None)]))[tcp.HEADER_LEN :]
    assert options[0] == tcp.OPTION_NOP
    assert options[1:5] == bytes([tcp.OPTION_MSS, tcp.MSS_LEN]) + (1460).to_bytes(2, "big")
    assert options[5] == tcp.OPTION_END
