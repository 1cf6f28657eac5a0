"""Initial values of parameters, with the distributions of `torch.nn.init`.

Each function returns a JAX initializer, `init(key, shape, dtype) -> array`, as Flax's layers take them.
"""

from jaxtrain.nn.initializers.random import uniform as uniform
