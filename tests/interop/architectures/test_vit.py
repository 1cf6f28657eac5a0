"""A vision transformer: patches by a convolution, a class token, and parameters that belong to no layer."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from transformers import ViTConfig, ViTForImageClassification

from jaxtrain import nn

SIZE, PATCH = 8, 4
LABELS = {"num_labels": 3}
CONFIG = ViTConfig(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    image_size=SIZE,
    patch_size=PATCH,
    **LABELS,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
WIDTH = CONFIG.hidden_size
NAMES = {
    "^(?!classifier)": "vit.",
    "cls_token|position_embeddings": r"embeddings.\g<0>",
    r"patches\.": "embeddings.patch_embeddings.projection.",
    r"([qkvo])_proj": r"attention.\1_proj",
    r"fc\d": r"mlp.\g<0>",
}


def norm() -> nn.LayerNorm:
    return nn.LayerNorm(WIDTH, CONFIG.layer_norm_eps, param_dtype=jnp.float64)


class Block(nnx.Module):
    def __init__(self, **given: Any) -> None:
        self.layernorm_before = norm()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(WIDTH, WIDTH, **given) for _ in range(4))
        self.layernorm_after = norm()
        self.fc1 = nn.Linear(WIDTH, CONFIG.intermediate_size, **given)
        self.fc2 = nn.Linear(CONFIG.intermediate_size, WIDTH, **given)

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, _ = x.shape
        normed = self.layernorm_before(x)
        query, key, value = (
            layer(normed).reshape(batch, length, CONFIG.num_attention_heads, -1).swapaxes(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        heads = nn.scaled_dot_product_attention(query, key, value)
        x += self.o_proj(heads.swapaxes(1, 2).reshape(x.shape))
        return x + self.fc2(jax.nn.gelu(self.fc1(self.layernorm_after(x)), approximate=False))


class VisionTransformer(nnx.Module):
    def __init__(self, **given: Any) -> None:
        self.cls_token = nnx.Param(jnp.zeros((1, 1, WIDTH)))
        self.position_embeddings = nnx.Param(jnp.zeros((1, (SIZE // PATCH) ** 2 + 1, WIDTH)))
        self.patches = nn.Conv(3, WIDTH, (PATCH, PATCH), PATCH, **given)
        self.layers = nnx.List([Block(**given) for _ in range(CONFIG.num_hidden_layers)])
        self.layernorm = norm()
        self.classifier = nn.Linear(WIDTH, CONFIG.num_labels, **given)

    def __call__(self, images: jax.Array) -> jax.Array:
        patches = self.patches(images).reshape(len(images), -1, WIDTH)
        first = jnp.broadcast_to(self.cls_token[...], (len(images), 1, WIDTH))
        x = jnp.concatenate([first, patches], axis=1) + self.position_embeddings[...]
        for layer in self.layers:
            x = layer(x)
        return self.classifier(self.layernorm(x)[:, 0])


@pytest.mark.long
def test_vit(assert_same_run) -> None:
    images = np.random.default_rng(0).normal(size=(4, SIZE, SIZE, 3))
    assert_same_run(
        ViTForImageClassification(CONFIG),
        VisionTransformer(param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        {"images": images},
        np.array([0, 1, 2, 1]),
        torch_given={"pixel_values": np.moveaxis(images, -1, 1).copy()},
        names=NAMES,
    )
