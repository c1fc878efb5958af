"""µAdam's best learning rate on the transformer, over width."""
