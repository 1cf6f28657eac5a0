"""Initializers of parameters, with the distributions of `torch.nn.init`.

Each function returns a JAX initializer, `init(key, shape, dtype) -> array`, as Flax's layers take them.
"""

from jaxtrain.nn.initializers.constant import constant as constant
from jaxtrain.nn.initializers.constant import dirac as dirac
from jaxtrain.nn.initializers.constant import eye as eye
from jaxtrain.nn.initializers.constant import ones as ones
from jaxtrain.nn.initializers.constant import zeros as zeros
from jaxtrain.nn.initializers.gain import calculate_gain as calculate_gain
from jaxtrain.nn.initializers.orthogonal import orthogonal as orthogonal
from jaxtrain.nn.initializers.random import normal as normal
from jaxtrain.nn.initializers.random import sparse as sparse
from jaxtrain.nn.initializers.random import trunc_normal as trunc_normal
from jaxtrain.nn.initializers.random import uniform as uniform
from jaxtrain.nn.initializers.variance_scaling import kaiming_normal as kaiming_normal
from jaxtrain.nn.initializers.variance_scaling import kaiming_uniform as kaiming_uniform
from jaxtrain.nn.initializers.variance_scaling import xavier_normal as xavier_normal
from jaxtrain.nn.initializers.variance_scaling import xavier_uniform as xavier_uniform
