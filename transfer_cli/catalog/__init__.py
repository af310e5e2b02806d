"""Registries: one row is one ability."""
