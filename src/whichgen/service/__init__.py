"""HTTP API and web page for attributing images."""
