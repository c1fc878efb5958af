"""What a configuration costs before it runs: arithmetic, memory traffic, peak memory and time."""
