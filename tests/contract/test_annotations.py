"""The shapes and types in the signatures are true of every call that the cases make."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import types

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# An int is welcome where a float is asked for, as type checkers have it.
sys.modules["tower"] = types.ModuleType("tower")
sys.modules["tower"].check = beartype(conf=BeartypeConf(is_pep484_tower=True))

with install_import_hook(["jaxtrain.losses", "jaxtrain.nn", "jaxtrain.regularization"], "tower.check"):
    import jaxtrain
    from parity.cases import all_cases

import jax
import jax.numpy as jnp
import pytest
from parity.subjects import LossCase

with pytest.raises(Exception, match="Type-check error"):
    jaxtrain.losses.mse_loss("no array", jnp.ones(3))

calls = 0
for case in all_cases():
    if isinstance(case, LossCase):
        for inputs in case.inputs:
            # Traced, not run: the annotations are checked all the same, and nothing is compiled.
            options = {"reduction": case.reductions[0]} if case.reductions else {}
            arrays = [jnp.asarray(x) for x in inputs if x is not None]
            jax.eval_shape(lambda *arrays: case.ours(*arrays, **options), *arrays)
            calls += 1
print(calls, "calls")
"""


@pytest.mark.long
def test_annotations_hold():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert int(run.stdout.split()[0]) > 100
