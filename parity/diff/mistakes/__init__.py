"""The known mistakes of ports: each changes one function call of PyTorch's into what a port often does instead."""

from parity.diff.mistakes.mistake import Mistake as Mistake
from parity.diff.mistakes.table import mistakes_of as mistakes_of
