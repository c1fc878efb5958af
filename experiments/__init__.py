"""Records of what was measured: one folder per claim, its text generated from its data."""
