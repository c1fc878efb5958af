"""What `mulo.run` can do, one module per mode; each takes a checked configuration."""
