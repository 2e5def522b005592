"""Who may use which IPv4 address, and until when."""
