"""Binding feed and control over ZeroMQ."""
