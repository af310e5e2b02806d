"""`auto`: rank, train, ensemble, select on val, test once."""
