"""Speed and memory, measured by hand and never in the test run."""
