"""The learning rates of the baselines."""
