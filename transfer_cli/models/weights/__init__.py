"""Weight files: find, download, verify, pack (`weights`)."""
