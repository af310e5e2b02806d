"""`data check`, `leaks`, `--group-by`: duplicates, image quality, label issues, leakage."""
