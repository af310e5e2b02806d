"""`evaluate`, `compare`: a model on labelled images; significance tests."""
