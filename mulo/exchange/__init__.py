"""Readers of weights and trajectories that other code wrote."""
