"""The sections of a report: each a frozen dataclass with a template of its own."""
