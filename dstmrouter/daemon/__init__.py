"""The processes: router supervisor, worker, server, client."""
