"""Coordinate check of the optimizers, under µP and SP."""
