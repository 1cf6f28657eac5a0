"""All inputs with which PyTorch tests its optimizers, losses, layers and functions of `nn`, on both sides."""
