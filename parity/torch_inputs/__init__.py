"""All inputs with which PyTorch tests its optimizers, losses, norms and dropouts, on both sides."""
