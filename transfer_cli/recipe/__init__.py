"""Recipes: pydantic sections, TOML, overrides; builtin/ holds the shipped ones in the wheel."""
