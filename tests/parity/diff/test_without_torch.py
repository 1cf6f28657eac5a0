"""Goldens are checked on machines that have no PyTorch."""

import subprocess
import sys

SCRIPT = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
import parity.pytest_plugin
from parity import diff

print(diff.check.__name__, diff.mark("a", 1))
try:
    diff.compare
except ModuleNotFoundError as error:
    print(error.name)
"""


def test_the_plugin_and_goldens_need_no_pytorch():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["check", "1", "torch"]
