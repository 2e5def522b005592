"""Any octets at all, for code that reads a stranger's: `python -m tests.fuzz --help`."""
