"""scikit-learn classifiers on features: fit, tune, folds, linear form."""
