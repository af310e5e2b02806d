"""Atomic files, CSV, cache, memory-mapped arrays, file discovery, digests."""
