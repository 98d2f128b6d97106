"""Attribution over HTTP: an API, and a page for people, on this machine."""
