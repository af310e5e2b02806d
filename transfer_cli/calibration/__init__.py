"""What is fitted on val: temperature, thresholds, reject option."""
