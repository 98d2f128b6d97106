"""Read and verify C2PA Content Credentials."""
