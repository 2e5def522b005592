"""The client end of the tunnel: the dynamic tunneling interface."""
