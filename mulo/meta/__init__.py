"""Meta-training: unrolls of the inner training, gradient estimators, the outer loop."""
