"""Answers datagrams with what they were, their TOS octet in front; runs by its file alone.

Arguments: port, a file to be made when it listens, IP_MTU_DISCOVER (see `udp_ask.py`).
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

LONGEST = 65535


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.setsockopt(socket.IPPROTO_IP, 10, int(sys.argv[3]))  # IP_MTU_DISCOVER, linux/in.h
        sock.bind(("0.0.0.0", int(sys.argv[1])))
        Path(sys.argv[2]).touch()
        while True:
            data, ancillary, _, sender = sock.recvmsg(LONGEST, 64)
            tos = next(value[0] for _, kind, value in ancillary if kind == socket.IP_TOS)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            sock.sendto(bytes([tos]) + data[1:], sender)


if __name__ == "__main__":
    main()
