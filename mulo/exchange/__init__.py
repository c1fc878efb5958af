"""Readers of other people's weights and trajectories."""
