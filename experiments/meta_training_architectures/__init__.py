"""Meta-training on a transformer, on a ViT and on a mix of four architectures."""
