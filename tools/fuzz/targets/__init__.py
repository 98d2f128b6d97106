"""One target a file: ``seeds()`` and ``check(data)``, which raises only on a finding."""
