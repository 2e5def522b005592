"""Measurements: each script prints one table, and with --json one line per figure."""
