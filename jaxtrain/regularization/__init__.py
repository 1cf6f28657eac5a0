"""Penalties for the loss, masks for weight decay, and constraints on the updated parameters."""

from jaxtrain._ground.labels import label_parameters as label_parameters
from jaxtrain.regularization.constraints import max_norm as max_norm
from jaxtrain.regularization.constraints import non_negative as non_negative
from jaxtrain.regularization.constraints import unit_norm as unit_norm
from jaxtrain.regularization.masks import decay_mask as decay_mask
from jaxtrain.regularization.penalties import elastic_net_penalty as elastic_net_penalty
from jaxtrain.regularization.penalties import l1_penalty as l1_penalty
from jaxtrain.regularization.penalties import l2_penalty as l2_penalty
