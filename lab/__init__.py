"""Topologies out of network namespaces and veth pairs, for the demo, the tests and perf."""
