"""Every input that PyTorch's own databases hold for optimizers, losses, norms and dropouts, on both sides."""
