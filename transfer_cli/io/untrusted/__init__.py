"""Validators that look at a file before a library opens it."""
