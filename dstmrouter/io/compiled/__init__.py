"""Compiled ways through the rings of packet sockets; `blockring` and `slotring` are the definition.

What is not plain there (a tag that the kernel has taken out, a checksum that is to be finished) is
left to them.
"""
