"""Evaluation of an optimizer: rollouts, grids, coordinate checks, and tables of their results."""
