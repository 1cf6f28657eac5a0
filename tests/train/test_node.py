"""A frozen dataclass as a node of pytrees: the same as `jax.tree_util.register_dataclass` makes of it."""

import dataclasses
from typing import Any

import jax
import pytest

from jaxtrain.train._node import node


@dataclasses.dataclass(frozen=True)
class Plain:
    first: Any
    second: Any
    label: str


@node(static="label")
@dataclasses.dataclass(frozen=True)
class Node(Plain):
    pass


jax.tree_util.register_dataclass(Plain, data_fields=["first", "second"], meta_fields=["label"])


def paths(tree):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def test_leaves_and_their_paths_are_those_of_a_registered_dataclass():
    values = {"b": 1, "a": [2, None]}, 3, "static"
    assert paths(Node(*values)) == paths(Plain(*values)) == [(".first['a'][0]", 2), (".first['b']", 1), (".second", 3)]
    assert jax.tree.leaves(Node(*values)) == jax.tree.leaves(Plain(*values))


def test_what_is_put_together_again_is_an_ordinary_frozen_instance():
    new = jax.tree.map(lambda leaf: 10 * leaf, Node(1, 2, "static"))
    assert new == Node(10, 20, "static")
    assert dataclasses.replace(new, second=0) == Node(10, 0, "static")
    with pytest.raises(dataclasses.FrozenInstanceError):
        new.first = 0


def test_the_static_field_belongs_to_the_structure():
    assert jax.tree.structure(Node(1, 2, "one")) == jax.tree.structure(Node(3, 4, "one"))
    assert jax.tree.structure(Node(1, 2, "one")) != jax.tree.structure(Node(1, 2, "other"))
