"""The directory of a run: files, lock, events, completed runs, evaluations."""
