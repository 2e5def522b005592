"""DSTM: lends IPv4 addresses to IPv6-only hosts (4over6, RFC 2473, RFC 7596)."""

__version__ = "0.1.0"
