"""What clients speak to the lease server: octets and `now` in, events and octets out, no I/O."""
