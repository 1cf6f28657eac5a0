"""The JAX side of a diff, whatever library it is written with: one port for each."""

from parity.diff.ports.choice import port_of as port_of
from parity.diff.ports.port import Port as Port
from parity.diff.ports.port import is_float as is_float
