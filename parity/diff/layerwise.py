"""Layer by layer: each JAX layer on PyTorch's inputs and output gradients, children before their parents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch.utils import _pytree as pytree

from parity.diff.arrays import BLOCK, CANCELLED, Layout, layout_of
from parity.diff.causes import Same, cause_of
from parity.diff.findings import Cause, Finding
from parity.diff.forced import Forced
from parity.diff.jax_replay import replay
from parity.diff.jax_side import JaxSide
from parity.diff.judge import Judge, fed, item, to_ours
from parity.diff.lining import Lines
from parity.diff.memory import give_back
from parity.diff.normed import normed_cause
from parity.diff.pooled import pooled_cause
from parity.diff.records import Call, Place, Replayed, Step
from parity.diff.residual import block_cause
from parity.diff.rounded import rounding_cause
from parity.diff.running import pairs_of
from parity.diff.scaled import scaled_cause
from parity.diff.swapped import swapped_cause
from parity.diff.torch_part import TorchPart
from parity.diff.torch_side import TorchLayer
from parity.diff.untied import untied_cause

Pairs = Sequence[tuple[Call, Call]]


def judge_layers(
    side: JaxSide, lines: Lines, ours: Step, theirs: Step, start: torch.nn.Module, precision: str, notes: list[str]
) -> tuple[list[Finding], bool]:
    """A finding for each layer that is wrong by itself, and whether a right one rounds to float32."""
    findings: list[Finding] = []
    rounding: set[Place] = set()
    rounded: dict[str, list[str]] = {}
    wrong: dict[Place, tuple[list[np.ndarray], list[np.ndarray | None]]] = {}
    blamed: set[str] = set()
    covered: set[str] = set()
    others = {call.place: call for call in ours.calls}
    pairs = pairs_of(lines, ours, theirs)
    known = {mine.place: true for mine, true in pairs}
    for number, (mine, true) in enumerate(pairs):
        marked = mine.kind == "mark"
        if marked and not (mine.within and mine.within[-1] in known):
            continue
        if not mine.within:
            give_back()  # What comes now is as large as the model.
        layer = TorchLayer(start, true, {name for name in covered if name.rpartition(".")[0] != true.path})
        inside = _before(mine, pairs[:number]) if marked else _inside(mine, wrong, others)
        excluded = [known[place].path for place in inside]
        # A mark has no inputs of its own, and nothing is sent back through a marked value that was replaced.
        replaced = any(others[place].kind == "mark" for place in inside)
        backward = "none" if replaced and not marked else "parameters" if marked else "all"
        host = mine.within[-1] if marked else mine.place
        given = fed(others[host], known[host])
        given = replace(given, copies={}) if marked else given
        try:
            judge = Judge(lines, true, layer, given, excluded, precision, backward)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            notes.append(f"{true.path or 'the model'} could not be run by itself{_given(true)}: {error}")
            continue
        back = [to_ours(g, y, z) for g, y, z in zip(true.output_gradients, true.outputs, mine.outputs, strict=False)]
        replayed_with = partial(replay, side, mine, given.inputs, back, inside, others)
        replayed = replayed_with(judge.names)
        worst = next((each for each in judge.all(replayed) if each.differs), None)
        covered |= _stood_for(judge.truth.parameter_gradients)
        if worst is None:
            continue
        casts = rounding_cause(side, mine, given.inputs, inside, others, worst)
        # What the port has instead of the variables of this layer was computed, in float32, from PyTorch's.
        apart = lines.apart(true.path)
        rounds = bool(apart) or (casts is not None and casts.dtype == "float32")
        coarse = next((each for each in judge.all(replayed) if each.in_float32().differs), None) if rounds else worst
        if coarse is None:
            if not any(mine.place in others[place].within for place in rounding):
                text = casts.text if casts else f"{apart} is not lined up, so that float32 rounding is not judged"
                rounded.setdefault(text, []).append(true.path or "the model")
            rounding.add(mine.place)
            continue
        wrong[mine.place] = _right(mine, true, judge.truth, None if marked else given.sources)
        if true.path in blamed:
            continue
        blamed.add(true.path)
        # What rounds to float32 may have another mistake, too.
        worst = coarse or worst
        same = judge.sameness(replayed, rounds=rounds)
        cause = (
            (Cause(casts.text, casts.fix) if casts and casts.likely else None)
            or cause_of(layer, same)
            or block_cause(layer, theirs, same)
            or normed_cause(layer, same)
            or swapped_cause(layer, same)
            or pooled_cause(layer, same)
            or scaled_cause(judge.in_torch(replayed), judge.truth, "the output", same)
            or untied_cause(judge, layer, replayed_with)
            or (_cause_before(mine, true, known[host], start, pairs[:number], same) if marked else None)
        )
        place = _where(mine, replayed, lines, theirs) if replayed.inner and not marked else ""
        findings.append(Finding("layer", true.path, mine.path, true.kind, worst, cause, place))
    for text, paths in rounded.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        notes.append(f"{paths[0]}{more}: {text}")
    return findings, bool(rounding)


def _cause_before(
    mark: Call, true: Call, host: Call, start: torch.nn.Module, earlier: Pairs, same: Same
) -> Cause | None:
    """The mistake in what PyTorch computes between earlier marks and this one."""
    before = [call for mine, call in earlier if mark.within[-1] in mine.within]
    part = TorchPart(TorchLayer(start, host), true, before)
    return cause_of(part, lambda found, gradients: same(found, False)) or normed_cause(part, same)


def _stood_for(gradients: Mapping[str, np.ndarray]) -> set[str]:
    """The large arrays of layers that have a small one, too: in a parent, its gradient tells as much as theirs."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in gradients.items():
        layers.setdefault(name.rpartition(".")[0], {})[name] = array
    found: set[str] = set()
    for group in layers.values():
        large = {name for name, array in group.items() if array.size > BLOCK}
        sizes = {name: np.abs(array).max(initial=0.0) for name, array in group.items()} if large else {}
        if any(sizes[name] > CANCELLED * max(sizes.values()) for name in sizes.keys() - large):
            found |= large
    return found


def _given(theirs: Call) -> str:
    """What else than arrays and numbers a layer was called with: an object that it changes, perhaps."""
    plain = (torch.Tensor, str, int, float, type(None))
    kinds = {type(leaf).__name__ for leaf in pytree.tree_leaves(theirs.arguments) if not isinstance(leaf, plain)}
    return f" (it is given {', '.join(sorted(kinds))}; switch caches off)" if kinds else ""


def _inside(call: Call, wrong: Forced, others: Mapping[Place, Call]) -> Forced:
    """The calls inside this one that are wrong themselves."""
    return {place: value for place, value in wrong.items() if call.place in others[place].within}


def _before(mark: Call, earlier: Pairs) -> Forced:
    """What PyTorch computed before a mark, inside the layer around it."""
    return {
        mine.place: ([to_ours(y, y, z) for y, z in zip(true.outputs, mine.outputs, strict=False)], [])
        for mine, true in earlier
        if mark.within[-1] in mine.within and len(true.outputs) == len(mine.outputs) and _fits(true, mine)
    }


def _fits(theirs: Call, ours: Call) -> bool:
    return all(layout_of(y, z) is not None for y, z in zip(theirs.outputs, ours.outputs, strict=True))


def _right(
    mine: Call, true: Call, truth: Replayed, sources: Sequence[tuple[int, Layout] | None] | None
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """What a wrong call should have returned, and the gradients of its inputs."""
    outputs = [
        to_ours(y, y, z) if (z := item(mine.outputs, index)) is not None else y for index, y in enumerate(truth.outputs)
    ]
    outputs = [z if y is None else y for y, z in zip(outputs, mine.outputs, strict=False)]
    if sources is None:
        return outputs, [to_ours(true.output_gradients[0], true.outputs[0], mine.outputs[0])]
    return outputs, [_gradient(truth, source) for source in sources if source is None or _floating(true, source)]


def _floating(theirs: Call, source: tuple[int, Layout]) -> bool:
    return np.issubdtype(theirs.inputs[source[0]].dtype, np.floating)


def _gradient(truth: Replayed, source: tuple[int, Layout] | None) -> np.ndarray | None:
    gradient = None if source is None else truth.input_gradients[source[0]]
    return None if gradient is None or source is None else source[1].to_jax(gradient)


def _where(ours: Call, found: Replayed, lines: Lines, theirs: Step) -> str:
    """Between which of its layers a parent goes wrong: the first one whose input is not PyTorch's."""
    known = {call.place: call for call in theirs.calls}
    previous = ""
    for (path, number), arrays in found.inner.items():
        call = known.get((lines.layers.get(path, "?"), number))
        if call is None or "." in path.removeprefix(f"{ours.path}." if ours.path else ""):
            continue
        for array in arrays:
            if np.issubdtype(array.dtype, np.floating) and not _near(array, call):
                between = f"between {previous!r} and" if previous else "before"
                return f"wrong {between} {call.path!r}"
        previous = call.path
    return f"wrong after {previous!r}" if previous else ""


def _near(array: np.ndarray, theirs: Call) -> bool:
    """Whether PyTorch's layer has this input."""
    return any(
        (layout := layout_of(given, array)) is not None and np.allclose(layout.to_jax(given), array, 1e-9, 1e-9)
        for given in theirs.inputs
    )
