"""Whole training runs side by side: hand-written JAX, Flax, PyTorch and jaxtrain."""
