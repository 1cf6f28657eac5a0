"""How the devices of a machine are laid out on the axes of a mesh."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from jaxtrain.train._mesh import device_mesh


@pytest.mark.parametrize(("data", "model"), [(128, 4), (64, 8), (256, 2)])
def test_an_axis_may_be_a_part_of_a_dimension_of_a_tpu(monkeypatch, data, model):
    chips = [
        SimpleNamespace(platform="tpu", device_kind="TPU v5", coords=coordinates, core_on_chip=0)
        for coordinates in product(range(8), repeat=3)
    ]
    # A mesh takes no other devices than JAX's.
    monkeypatch.setattr("jaxtrain.train._mesh.Mesh", lambda devices, names, axis_types: devices)
    laid_out = np.asarray(device_mesh({"data": data, "model": model}, chips))
    assert laid_out.shape == (data, model)
    assert len({chip.coords for chip in laid_out.ravel()}) == 512
    for row in laid_out:
        coordinates = np.array([chip.coords for chip in row])
        apart = np.abs(np.diff(coordinates, axis=0)).sum(axis=1)
        np.testing.assert_array_equal(apart, 1, err_msg="devices of one row are no neighbours")
