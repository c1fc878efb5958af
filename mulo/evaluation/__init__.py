"""Measuring a finished optimizer: rollouts, grids, coordinate checks, and the records of their results."""
