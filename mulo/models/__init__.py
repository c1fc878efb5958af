"""Optimizees as Flax NNX modules whose parameters name their role."""
