"""Server, routers and clients under faults: `python -m lab.faults --faults 20`, as root."""
