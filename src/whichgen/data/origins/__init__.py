"""Names of origins and families of generators."""
