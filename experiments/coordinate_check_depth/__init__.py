"""Pre-activations over width on every architecture."""
