"""Developer tools that are not part of the installed package: zoo, fuzz, faults, locks."""
