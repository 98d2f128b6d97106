"""Command-line interface: modules that define commands, and modules that commands share."""
