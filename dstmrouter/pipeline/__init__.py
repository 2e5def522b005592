"""What happens to packets: pure functions on columns; no I/O, no clock, no logging."""
