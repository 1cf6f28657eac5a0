"""Speed: each component and its counterpart in Optax, Flax or plain JAX, measured side by side."""
