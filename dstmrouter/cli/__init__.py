"""Command lines: dstm-router, dstm-server, dstm-client, dstmctl."""
