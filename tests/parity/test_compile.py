"""`python -m parity compile`: what a program sends, and what a machine's name means."""

from pathlib import Path

import jax
import pytest

from jaxtrain.train import Placement
from parity.__main__ import main
from parity.compile import command, components, examples, gpt, report
from parity.compile.communication import Traffic, traffic
from parity.compile.gpt import SIZES, TENSOR_RULES, new
from parity.compile.machine import Machine
from parity.compile.step import Compiled, compile_step

PROGRAM = """
%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

%body (p: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %g = bf16[32,8]{1,0} all-gather(%x), channel_id=1, replica_groups=[1,8]<=[8], dimensions={0}
  %s = f32[2]{0} reduce-scatter(%y), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%sum
}

%condition (p: (s32[], bf16[4,8])) -> pred[] {
  ROOT %c = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %w = (s32[], bf16[4,8]) while(%t), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %a = (f32[4]{0}, f64[2]{0}) all-reduce-start(%x, %z), channel_id=3, replica_groups=[1,8]<=[8], to_apply=%sum
  %d = (f32[4]{0}, f64[2]{0}) all-reduce-done(%a)
  %k = ((f32[8]{0}, bf16[16]{0}), (f32[1]{0}, bf16[2]{0})) reduce-scatter-start(%u, %v), channel_id=5, to_apply=%sum
  ROOT %h = ((f32[4]{0}, s8[2]{0}), (f32[32]{0}, s8[16]{0})) all-gather-start(%d, %e), channel_id=4, dimensions={0}
}
"""


def test_collectives_are_counted_as_often_as_their_loop_runs():
    assert traffic(PROGRAM) == {
        "all-gather": Traffic(count=3 + 1, bytes=3 * 32 * 8 * 2 + 32 * 4 + 16),
        "all-reduce": Traffic(count=1, bytes=4 * 4 + 2 * 8),
        "reduce-scatter": Traffic(count=3 + 1, bytes=3 * 2 * 4 * 4 + 8 * 4 + 16 * 2),
    }


def test_a_loop_of_unknown_length_is_not_guessed():
    hidden = PROGRAM.replace(', backend_config={"known_trip_count":{"n":"3"}}', "")
    assert traffic(hidden) is None
    assert traffic(PROGRAM.replace("body=%body", "body=%condition").replace("known_trip_count", "other")) is not None


ON_A_TPU = """
%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

%body (p: (f32[4], u32[])) -> (f32[4], u32[]) {
  %p = (f32[4]{0:T(128)}, u32[]{:T(128)}) parameter(0)
  %i = u32[]{:T(128)} get-tuple-element(%p), index=1
  %j = u32[]{:T(128)} copy(%i)
  %two = u32[]{:T(128)} constant(2)
  %next = u32[]{:T(128)} add(%j, %two), metadata={op_name="while/body/add"}
  %s = f32[4]{0:T(128)S(1)} reduce-scatter(%x), channel_id=1, replica_groups=mesh['a'=2,'b'=4] {'b'}, to_apply=%sum
  ROOT %r = (f32[4]{0:T(128)}, u32[]{:T(128)}) tuple(%s, %next)
}

%condition (p: (f32[4], u32[])) -> pred[] {
  %limit = u32[]{:T(128)} constant(7)
  %p = (f32[4]{0:T(128)}, u32[]{:T(128)}) parameter(0)
  %i = u32[]{:T(128)} get-tuple-element(%p), index=1
  ROOT %c = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

%part (x: f32[4]) -> f32[8] {
  ROOT %g = f32[8]{0:T(128)} all-gather(%x), channel_id=2, replica_groups=mesh['a'=2] {'a'}, dimensions={0}
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %one = u32[]{:T(128)} constant(1)
  %start = u32[]{:T(128)} copy(%one)
  %t = (f32[4]{0:T(128)}, u32[]{:T(128)}) tuple(%x, %start)
  %w = (f32[4]{0:T(128)}, u32[]{:T(128)}) while(%t), condition=%condition, body=%body
  %b = f32[8]{0:T(128)} fusion(%x), kind=kCustom, calls=%part
  ROOT %e = f32[8]{0:T(128)} fusion(%b), kind=kCustom, calls=%part
}
"""


def test_a_tpu_counts_its_loops_by_variables_and_splits_a_collective_into_fusions():
    assert traffic(ON_A_TPU) == {
        "all-gather": Traffic(count=1, bytes=8 * 4),
        "reduce-scatter": Traffic(count=3, bytes=3 * 4 * 4 * 4),
    }
    assert traffic(ON_A_TPU.replace("add(%j", "multiply(%j")) is None
    assert traffic(ON_A_TPU.replace("direction=LT", "direction=NE")) is None


@pytest.fixture(scope="module")
def here():
    """The devices of this process, as if they were somewhere else."""
    return Machine("here", tuple(jax.devices()), 1e6, {})


@pytest.mark.usefixtures("promotion")
def test_a_step_is_compiled_without_arrays(here):
    result = compile_step(here, gpt.step("tiny", sequences=1), "both")
    assert result.parameters == 475_648
    # Three float32 arrays a parameter. Scales and positions are whole, "model" splits the others into 4 parts, and
    # "data" all but attend_out, 32,768 numbers, into 2 more.
    assert result.state == pytest.approx(12 * (16_896 + 32_768 / 4 + 425_984 / 8), rel=0.01)
    assert result.traffic is not None
    assert result.traffic["all-reduce"].count >= 4
    assert result.temporaries > 0
    assert not result.fits
    table = report.markdown(report.steps([result]), "note").splitlines()
    assert table[2].startswith("| here | GPT tiny | 475,648 | both | 942 kB |")
    assert "| no |" in table[2]
    fits = report.fitting([result]).rows
    assert fits == [["here", "GPT tiny, 475,648", "", "", "", f"no, {(result.state + result.temporaries) / 1e6:.0%}"]]


def test_what_a_compiler_refuses_is_shown(here, monkeypatch, tmp_path, capsys):
    def compile_step(machine, step, placement):
        why = {"data": "RESOURCE_EXHAUSTED: 20 GB", "sharded": "INTERNAL: no"}[placement]
        return Compiled(machine.name, machine.memory, step.name, placement, 7, 4, 0, 0, {}, why)

    monkeypatch.setattr(command, "compile_step", compile_step)
    monkeypatch.setattr(Machine, "of", lambda name: here)
    page = tmp_path / "page.md"
    page.write_text("<!-- compile-fits-tpu: begin -->\n<!-- compile-fits-tpu: end -->\n")
    options = ["--for", "here", "--size", "tiny", "--placement", "data"]
    assert main(["compile", "gpt", *options, "--markdown", str(page)]) == 0
    assert "| here | GPT tiny, 7 | no |  |  |  |" in page.read_text()
    assert "refused by the compiler" in page.read_text()
    assert main(["compile", "gpt", *options, "sharded"]) == 1
    assert "here GPT tiny sharded: INTERNAL: no" in capsys.readouterr().out


def test_the_examples_have_steps():
    steps = {step.name: step for step in examples.steps()}
    assert list(steps) == ["digits, dropout", "digits, batchnorm", "CNN", "CNN, bfloat16", "text"]
    assert {leaf.shape[0] for step in steps.values() for leaf in jax.tree.leaves(step.batch(8))} == {8}
    shapes = jax.eval_shape(steps["text"].new)
    split = Placement({"data": 2, "model": 4}, rules=steps["text"].rules).shardings(shapes).params["blocks"][0]
    assert {name for name, layer in split.items() if any(not at.is_fully_replicated for at in layer.values())} == {
        "attend", "project", "widen", "narrow",
    }  # fmt: skip
    with pytest.raises(RuntimeError, match="expected the scripts of a checkout in nowhere, got none"):
        examples.steps(Path("nowhere"))


def test_a_component_is_compiled_and_not_run(here):
    case = next(case for case in components.cases() if case.component == "nn.Linear")
    result = components.compile_component(here, case)
    # Forward and backward pass in training, and the forward pass in evaluation.
    assert result.programs == 2
    assert result.kernels > 2
    assert result.temporaries >= 0
    assert case.measurement.passed  # No program of the machine is left behind.
    assert report.components([result]).rows[0][:4] == ["here", "`nn`", "1", "2"]


@pytest.mark.long
@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("number", range(5))
def test_an_example_is_compiled(here, number):
    step = examples.steps()[number]
    result = compile_step(here, step, "data")
    assert result.traffic["all-reduce"].bytes >= 2 * result.parameters


@pytest.mark.parametrize(
    ("state", "temporaries", "refused", "fits"),
    [(6, 4, "", True), (7, 4, "", False), (11, 0, "", False), (6, 0, "RESOURCE_EXHAUSTED", False)],
)
def test_a_step_fits_if_its_state_and_temporaries_do_and_the_compiler_took_it(state, temporaries, refused, fits):
    result = Compiled("here", 10, "tiny", "data", 1, state, temporaries, 1, {}, refused)
    assert result.fits == fits
    row = report.markdown(report.steps([result]), "note").splitlines()[2]
    assert ("| yes |" in row) == fits
    assert ("refused by the compiler" in row) == bool(refused)


def test_rules_split_what_they_name():
    shapes = jax.eval_shape(lambda: new(SIZES["tiny"]))
    placement = Placement({"data": 1, "model": 8}, rules=TENSOR_RULES)
    split = {name for name, at in placement.shardings(shapes).params.items() if not at.is_fully_replicated}
    assert split == {"embedding", "attend_in", "attend_out", "widen", "narrow"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("a100x8", "expected a machine such as v5e:4x4, v5p:4x4x4 or h100x8, got 'a100x8'"), ("v5e:4x4", "aot-tpu")],
)
def test_what_is_missing_is_said(name, message, capsys):
    try:
        status = main(["compile", "--for", name])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert message in capsys.readouterr().err


class _Lowered:
    """A program that the compiler takes only without Triton's products."""

    def __init__(self, complaint):
        self.complaint, self.asked = complaint, []

    def compile(self, compiler_options):
        self.asked.append(compiler_options)
        if "xla_gpu_enable_triton_gemm" not in compiler_options:
            raise jax.errors.JaxRuntimeError(self.complaint)
        return "compiled"


def test_a_product_without_tiles_is_compiled_without_triton():
    machine = Machine("h100x1", (), 80e9, {"xla_gpu_autotune_level": "0"})
    small = _Lowered("INTERNAL: Couldn't find output tile sizes that satisfy %dot.23")
    assert machine.compile(small) == "compiled"
    assert small.asked == [
        {"xla_gpu_autotune_level": "0"},
        {"xla_gpu_autotune_level": "0", "xla_gpu_enable_triton_gemm": False},
    ]
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        machine.compile(_Lowered("RESOURCE_EXHAUSTED: out of memory"))
