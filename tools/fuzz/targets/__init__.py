"""Targets, one per file: ``seeds()`` returns cases, and ``check(data)`` raises for a finding."""
