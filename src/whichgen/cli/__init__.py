"""Command-line interface: one module per command or command group, and shared modules."""
