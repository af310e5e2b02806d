"""`rank`: which backbone to start from, by cross-validated score and cost."""
