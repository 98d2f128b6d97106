"""The command line: one module per command or group of commands, shared parts beside them."""
