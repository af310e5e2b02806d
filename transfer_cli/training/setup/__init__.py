"""What every training does before the first step: claim the run, split, decode."""
