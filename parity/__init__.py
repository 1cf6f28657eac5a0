"""Numerical parity with PyTorch, proven by executing it."""
