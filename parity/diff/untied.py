"""Weights that PyTorch ties, and the port has twice."""

from collections.abc import Callable

from parity.diff.findings import Cause
from parity.diff.judge import Judge
from parity.diff.records import Replayed
from parity.diff.torch_side import TorchLayer


def untied_cause(judge: Judge, layer: TorchLayer, replay: Callable[[set[str]], Replayed]) -> Cause | None:
    """Whether the gradients of two arrays of the port add up to PyTorch's gradient of the one that it has.

    Args:
        judge: of the layer.
        layer: PyTorch's.
        replay: runs the port's layer, with the gradients of parameters by our names.
    """
    ours = {other: name for name, (other, _) in judge.lines.parameters.items()}
    groups: dict[int, list[str]] = {}
    for name, parameter in layer.layer.named_parameters(remove_duplicate=False):
        if (full := layer.prefix + name) in ours:
            groups.setdefault(id(parameter), []).append(full)
    tied = [names for names in groups.values() if len(names) > 1]
    if not tied:
        return None
    found = judge.in_torch(replay(judge.names | {ours[name] for names in tied for name in names}))
    for first, *others in tied:
        for other in others:
            found.parameter_gradients[first] = found.parameter_gradients[first] + found.parameter_gradients.pop(other)
    if any(each.differs for each in judge.compared(found)):
        return None
    said = " and ".join(" and ".join(names) for names in tied)
    return Cause(f"{said} are arrays of their own, in PyTorch they are one", "use one array for both")
