"""Layers and variables of both sides are lined up."""

import numpy as np
import pytest

from parity.diff.lining import line_up

RNG = np.random.default_rng(0)
W, B = RNG.normal(size=(3, 2)), RNG.normal(size=3)
THEIRS = {"fc.weight": W, "fc.bias": B}


def test_names_rules_values_and_parents():
    assert line_up({"fc": ""}, {"fc": ""}, THEIRS, THEIRS).layers == {"fc": "fc"}
    rules = line_up({"body": ""}, {"fc": ""}, {"fc.weight": W}, THEIRS, names={"^body": "fc"})
    assert rules.layers == {"body": "fc"}
    # The same numbers under another name, and transposed.
    lines = line_up({"a": "", "a.dense": ""}, {"x": "", "x.fc": ""}, {"a.dense.w": W.T}, {"x.fc.weight": W})
    assert lines.layers == {"a.dense": "x.fc", "a": "x"}
    np.testing.assert_array_equal(lines.in_torch({"a.dense.w": W.T})["x.fc.weight"], W)
    np.testing.assert_array_equal(lines.to_ours({"x.fc.weight": 2 * W})["a.dense.w"], 2 * W.T)


def test_what_cannot_be_lined_up_is_listed_with_a_proposal():
    lines = line_up({"": "", "encoder1": "A"}, {"": "", "encoder": "B"}, {"dense.weight": W + 1}, THEIRS)
    assert lines.unmatched == [
        "our variable 'dense.weight'; perhaps it is 'fc.weight'",
        "PyTorch's variable 'fc.weight'",
        "PyTorch's variable 'fc.bias'",
        "our layer 'encoder1'; perhaps it is 'encoder'",
        "PyTorch's layer 'encoder'",
    ]
    settled = line_up({"": "", "encoder1": "A"}, {"": "", "encoder": "B"}, {}, {}, layers={"encoder1": "encoder"})
    assert settled.layers == {"encoder1": "encoder", "": ""}
    with pytest.raises(ValueError, match="map paths of called layers, got 'encodr'"):
        line_up({"encoder1": ""}, {"encoder": ""}, {}, {}, layers={"encodr": "encoder"})


def test_projections_of_an_attention_that_pytorch_computes_as_a_whole_are_not_listed():
    ours = {"": "", "a": "MultiHeadAttention", "a.query": "Linear"}
    assert line_up(ours, {"": "", "a": "MultiheadAttention"}, {}, {}).unmatched == []
    assert len(line_up(ours, {"": "", "a": "Attention", "a.proj": "Conv1D"}, {}, {}).unmatched) == 2
