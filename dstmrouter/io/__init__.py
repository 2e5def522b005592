"""Everything that touches the kernel: rings, steering, netlink."""
