"""`extract`, `finetune`, `lr-find`, `preview`: from a data set to a run."""
