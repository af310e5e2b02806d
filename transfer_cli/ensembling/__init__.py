"""`ensemble`, `--bags`: several finished runs as one model."""
