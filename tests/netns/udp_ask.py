"""Sends random datagrams to `udp_echo.py` until one comes back; runs by its file alone.

Arguments: address, port, octets, TOS, and what the kernel is to do about MTUs (IP_MTU_DISCOVER): 0
is to cut datagrams to the path's, 5 to that of the interface, whatever is known of the path; both
without DF. Says the TOS that the other side saw and the one that came
back, or nothing.
"""

from __future__ import annotations

import os
import socket
import sys

TRIES = 20  # the first may be lost while the path's MTU is found out
TIMEOUT_S = 1.0


def main() -> None:
    address, (port, size, tos, discover) = sys.argv[1], map(int, sys.argv[2:6])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, 10, discover)  # IP_MTU_DISCOVER, linux/in.h
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.settimeout(TIMEOUT_S)
        for _ in range(TRIES):
            data = os.urandom(size)
            sock.sendto(data, (address, port))
            try:
                answer, ancillary, _, _ = sock.recvmsg(65535, 64)
            except TimeoutError:
                continue
            if answer[1:] == data[1:]:
                back = next(value[0] for _, kind, value in ancillary if kind == socket.IP_TOS)
                print(answer[0], back)
                return


if __name__ == "__main__":
    main()
