"""The engine's turn where all ports are AF_XDP sockets, compiled; `daemon.engine` defines it."""
