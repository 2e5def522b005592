"""One header, one file, one dtype; numpy only."""
