"""The fused LM head: product, activation and pooling in one pass."""
