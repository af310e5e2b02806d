"""`--plan` and `--time-budget`: profile, estimate, fit epochs into a budget."""
