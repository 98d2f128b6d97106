"""Tools for maintainers that are not part of the package: zoo, starter, fuzz, faults and locks."""
