"""`export`: the model as a file for another runtime, checked for parity."""
