"""`predict`: load a model from a run, bundle or export, and run it on a runtime."""
