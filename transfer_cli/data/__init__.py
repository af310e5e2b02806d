"""Image folders: scan, CSV, split, groups, decoding; tables of predictions."""
