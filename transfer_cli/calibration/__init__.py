"""Fitted on val: temperature, thresholds, reject option."""
