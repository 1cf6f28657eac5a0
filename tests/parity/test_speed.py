"""`python -m parity speed`: the instrument, on clocks and programs whose figures are known."""

import json
import os
import time
from argparse import ArgumentParser
from types import FunctionType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses, nn, optim
from parity.markdown import begin_marker, end_marker
from parity.speed import command, compiling, report
from parity.speed.compiling import compile_timed, kernels
from parity.speed.measure import QUICK, AheadOfTime, Measurement, measure, one_core
from parity.speed.scenario import Program, Scenario
from parity.speed.scenarios import all_scenarios
from parity.speed.timing import Patience, Samples, interleaved, quartiles

# Optax, Flax and plain JAX promote dtypes and add axes.
pytestmark = pytest.mark.usefixtures("promotion")

STACKS = {"Transformer", "TransformerEncoder", "TransformerDecoder"}
"""They run other layers, and nothing else."""

SCENARIOS = {scenario.name: scenario for scenario in all_scenarios([4], small=True)}


class FakeClock:
    """A clock that only moves when a program runs, by as much as the program takes."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def program(self, name, *seconds):
        """A program that takes these times in turn, over and over."""
        count = 0

        def run():
            nonlocal count
            self.now += seconds[count % len(seconds)]
            self.calls.append(name)
            count += 1

        return run


def timed(ours, theirs, **patience):
    clock = FakeClock()
    samples = interleaved(clock.program("ours", *ours), clock.program("theirs", *theirs), Patience(**patience), clock)
    return samples, clock.calls


def test_rounds_are_interleaved_and_neither_program_is_always_second():
    samples, calls = timed([3.0], [2.0], half=1.0, rounds=3)
    assert calls[-6:] == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert samples == Samples((3.0, 3.0, 3.0), (2.0, 2.0, 2.0))
    assert samples.ratio == 1.5
    assert samples.uncertainty == 0


def test_a_short_program_is_called_until_half_a_round_is_full():
    samples, calls = timed([3.0], [10.0], half=10.0, rounds=2)
    assert calls[-10:] == ["ours"] * 4 + ["theirs"] * 2 + ["ours"] * 4
    assert samples.medians == (3.0, 10.0)


def test_rounds_go_on_until_the_ratio_is_precise_or_time_is_up():
    noisy = [1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0]
    precise, _ = timed(noisy, [1.0], half=1.0, rounds=4, precision=0.1, seconds=1e9)
    assert precise.uncertainty <= 0.1
    assert len(precise.ours) > 50
    given_up, _ = timed(noisy, [1.0], half=1.0, rounds=4, precision=0.0, seconds=30.0)
    assert 30 <= sum(given_up.ours) + sum(given_up.theirs) <= 36


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    samples = Samples((1.0, 10.0, 4.0), (1.0, 5.0, 8.0))
    assert samples.ratio == 1.0
    assert samples.medians == (4.0, 5.0)
    assert samples.fastest_ratio == 1.0
    assert quartiles((1.0, 2.0, 3.0, 4.0, 5.0)) == (2.0, 4.0)
    assert quartiles((7.0,)) == (7.0, 7.0)


def test_the_uncertainty_is_the_spread_of_medians():
    generator = np.random.default_rng(0)
    draws = generator.normal(1.0, 0.1, size=(2000, 49))
    stated = np.mean([Samples(tuple(ratios), (1.0,) * 49).uncertainty for ratios in draws])
    np.testing.assert_allclose(stated, np.std(np.median(draws, axis=1)), rtol=0.05)


def test_kernels_are_counted_in_loops_branches_and_calls_but_not_in_fusions():
    text = """HloModule jit_f
%fused (p.1: f32[8]) -> f32[8] {
  %p.1 = f32[8]{0} parameter(0)
  ROOT %sine = f32[8]{0} sine(%p.1)
}
%body (p.2: (f32[8], s32[])) -> (f32[8], s32[]) {
  %p.2 = (f32[8]{0}, s32[]) parameter(0)
  %x = f32[8]{0} get-tuple-element(%p.2), index=0
  %a = f32[8]{0} fusion(%x), kind=kLoop, calls=%fused
  %b = f32[8]{0} copy(%a)
  ROOT %pair = (f32[8]{0}, s32[]) tuple(%b, %x)
}
%condition (p.3: (f32[8], s32[])) -> pred[] {
  %p.3 = (f32[8]{0}, s32[]) parameter(0)
  ROOT %less = pred[] fusion(%p.3), kind=kLoop, calls=%fused
}
%left (p.4: f32[8]) -> f32[8] {
  ROOT %p.4 = f32[8]{0} parameter(0)
}
%right (p.5: f32[8]) -> f32[8] {
  %p.5 = f32[8]{0} parameter(0)
  ROOT %c = f32[8]{0} negate(%p.5)
}
%command_buffer (p.6: f32[8]) -> (f32[8], f32[8]) {
  %p.6 = f32[8]{0} parameter(0)
  %d = (f32[8], f32[8], f32[8], f32[8], f32[8], /*index=5*/f32[8]) fusion(%p.6), kind=kLoop, calls=%fused
  ROOT %e = (f32[8]{0}, s8[64]{0}) custom-call(%p.6), custom_call_target="__cublas$gemm"
}
ENTRY %main (x.1: f32[8]) -> f32[8] {
  %x.1 = f32[8]{0} parameter(0)
  %zero = s32[] constant(0)
  %start = (f32[8]{0}, s32[]) tuple(%x.1, %zero)
  %loop = (f32[8]{0}, s32[]) while(%start), condition=%condition, body=%body
  %choice = f32[8]{0} conditional(%zero, %x.1, %x.1), branch_computations={%left, %right}
  %called = (f32[8]{0}, f32[8]{0}) call(%x.1), to_apply=%command_buffer
  %sent = ((f32[8]{0}), f32[8]{0}) copy-start(%x.1)
  %got = f32[8]{0} copy-done(%sent)
  ROOT %bits = f32[8]{0} bitcast(%choice)
}
"""
    in_loop, in_branches, in_call, copies = 3, 1, 2, 1
    assert kernels(text) == in_loop + in_branches + in_call + copies


def test_temporaries_of_a_known_program():
    size = 100
    program = Program(lambda x: jnp.sort(jnp.outer(x, x), axis=0)[0], (jnp.ones(size),))
    assert compile_timed(program, FakeClock()).temporaries >= 4 * size**2


def test_a_measurement_keeps_its_sides_apart():
    def program(function):
        return lambda: Program(function, (jnp.ones((64, 64)),))

    ours, theirs = program(lambda x: x + 1), program(lambda x: x @ x @ x @ x)
    found = measure(Scenario("nn.ours", "", "theirs", ours, theirs), QUICK, time.perf_counter)
    assert found.temporaries[0] < found.temporaries[1]
    for side in ("ours", "theirs"):
        (trace,), (compiled,) = getattr(found.trace, side), getattr(found.compile, side)
        assert getattr(found.build, side) == (trace + compiled,)
        assert len(getattr(found.run, side)) == QUICK.run.rounds


def test_no_compilation_is_helped_by_an_earlier_one():
    clock = FakeClock()

    @jax.jit
    def inner(x):
        clock.now += 5.0  # Tracing is all that happens in Python.
        return x + 1

    def function(x):
        clock.now += 2.0
        return inner(x)

    program = Program(function, (jnp.ones(3),))
    found = [compile_timed(program, clock) for _ in range(3)]
    assert [(compilation.trace, compilation.compile) for compilation in found] == [(7.0, 0.0)] * 3


def public(room, kind):
    return {name for name, value in vars(room).items() if not name.startswith("_") and isinstance(value, kind)}


def test_every_optimizer_layer_and_loss_has_a_scenario():
    functions = public(optim, FunctionType) - {"get_ema_avg_fn", "get_swa_avg_fn", "separate_steps"}
    besides_optimizers = {"param_groups", "clip_grad_norm", "clip_grad_value", "averaged_model"}
    assert len(functions - besides_optimizers) == 15
    expected = {f"optim.{name}" for name in functions}
    expected |= {f"nn.{name}" for name in public(nn, type) - STACKS}
    expected |= {f"losses.{name}" for name in public(losses, FunctionType)}
    functions_of_nn = {f"nn.{name}" for name in public(nn, FunctionType)}
    assert {scenario.component for scenario in SCENARIOS.values()} - functions_of_nn == expected


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name.startswith("losses.")])
def test_a_loss_and_its_expression_agree(name):
    results = [
        jax.jit(program.function)(*program.arguments) for program in (SCENARIOS[name].ours(), SCENARIOS[name].theirs())
    ]
    for ours, theirs in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * float(jnp.max(jnp.abs(theirs))))


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name.startswith(("nn.", "optim."))])
def test_a_component_and_its_counterpart_return_the_same_shapes(name):
    def shapes(program):
        results = jax.eval_shape(program.function, *program.arguments)
        # The parameters of a layer, what it keeps and the state of an optimizer are their own affair.
        results = (results[0], results[1][1:]) if name.startswith("nn.") else results[0]
        return sorted((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(results))

    assert shapes(SCENARIOS[name].ours()) == shapes(SCENARIOS[name].theirs())


def test_normalizations_agree_with_flax():
    for name in ("nn.BatchNorm[images]", "nn.GroupNorm[8 groups]", "nn.InstanceNorm[affine]", "nn.LayerNorm"):
        ours, theirs = (
            jax.jit(program.function)(*program.arguments)[0]
            for program in (SCENARIOS[name].ours(), SCENARIOS[name].theirs())
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=name)


def options(*arguments):
    parser = ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(arguments))


@pytest.mark.long
def test_one_scenario_of_each_kind_gives_tables_and_files(tmp_path, capsys):
    markdown = tmp_path / "speed.md"
    markdown.write_text("".join(f"{begin_marker(key)}\nold\n{end_marker(key)}\n" for key in ("speed-layers", "other")))
    names = ["optim.sgd[momentum]", "nn.LayerNorm", "losses.mse_loss"]
    files = ["--json", str(tmp_path / "speed.json"), "--markdown", str(markdown)]
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    assert command.main(options(*names, "--quick", "--parameters", "2", "4", *files)) == 0
    assert cores is None or os.sched_getaffinity(0) == cores

    found = json.loads((tmp_path / "speed.json").read_text())
    assert f"JAX {jax.__version__}" in found["measured"]
    entries = found["scenarios"]
    assert [(entry["component"], entry["parameters"]) for entry in entries] == [
        ("optim.sgd", 2),
        ("optim.sgd", 4),
        ("nn.LayerNorm", None),
        ("losses.mse_loss", None),
    ]
    assert all(len(entry["run"]["ours"]) == len(entry["run"]["theirs"]) == 3 for entry in entries)
    assert all(entry[what]["ratio"] > 0 for entry in entries for what in ("run", "trace", "compile"))

    written = markdown.read_text()
    between = written.partition(begin_marker("speed-layers"))[2].partition(end_marker("speed-layers"))[0]
    assert "| `nn.LayerNorm` | `nnx.LayerNorm` |" in between
    assert "old" not in between
    assert f"{begin_marker('other')}\nold\n" in written
    assert "| `optim.sgd[momentum]` | 2 to 4 |" in written
    printed = capsys.readouterr().out
    assert all(title in printed for title in ("Optimizers", "Growth", "Layers", "Losses"))


def fake(component, *, ours, theirs=1.0, build=1.0):
    scenario = Scenario(component, "", "theirs", lambda: None, lambda: None)
    return Measurement(
        scenario,
        Samples((ours,) * 3, (theirs,) * 3),
        Samples((0.0,), (0.0,)),
        Samples((build,), (1.0,)),
        (2_500_000, 0),
    )


def test_figures_above_their_limits_are_bold_and_counted():
    results = [
        fake("optim.adam", ours=1.04, build=1.31),
        fake("optim.sgd", ours=1.06, build=1.29),
        fake("nn.Conv", ours=1.04),
        fake("losses.mse_loss", ours=1.02, build=9.0),
    ]
    tables = report.sections(results, "Measured.")
    lines = [line for table in tables for line in report.markdown(table).splitlines() if line.startswith("| `")]
    assert ["**" in line for line in lines] == [True, True, True, False]
    assert "| 1.040 ± 0.000 (1.04 to 1.04) | 1.04 | 1.31, 1 | **1.31** | 2.5 MB, 0 B |" in lines[0]
    assert "**1.060 ± 0.000 (1.06 to 1.06)** | 1.06 | 1.29, 1 | 1.29 |" in lines[1]
    assert report.summary(tables) == "3 figures above their limits, in 4 rows"
    assert report.markdown(tables[0]).endswith("\nMeasured.\n")


def test_kernels_and_temporaries_above_their_limits_are_bold():
    scenario = Scenario("nn.Conv", "", "nnx.Conv", lambda: None, lambda: None)
    results = [
        AheadOfTime(scenario, (7, 6), (2_000, 1_000), arguments=1_000_000),
        AheadOfTime(scenario, (6, 6), (20_000, 1_000), arguments=1_000_000),
    ]
    first, second = report.markdown(report.sections_ahead_of_time(results, "Compiled.")[0]).splitlines()[2:4]
    assert first == "| `nn.Conv` | `nnx.Conv` | **7, 6** | 2 kB, 1 kB |"
    assert second == "| `nn.Conv` | `nnx.Conv` | 6, 6 | **20 kB, 1 kB** |"


def test_growth_compares_the_most_with_the_fewest_parameters():
    def at(parameters, ours, build):
        scenario = Scenario("optim.adam", "", "optax.adam", lambda: None, lambda: None, parameters)
        run, compiled = Samples((ours,), (1.0,)), Samples((build,), (2.0,))
        return Measurement(scenario, run, Samples((0.0,), (0.0,)), compiled, (10 * parameters, 0))

    growth = report.sections([at(20, 1.0, 3.0), at(200, 5.0, 30.0), at(800, 10.0, 60.0)], "Measured.")[1]
    assert [text for text, _ in growth.rows[0]] == ["`optim.adam`", "20 to 800", "20×, 1×", "10×, 1×", "40×, -"]


def test_without_the_compiler_for_cuda_the_error_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    assert command.main(options("nn.Linear", "--for", "h100")) == 2
    assert "--for h100: expected JAX's compiler for CUDA, got a Python without it" in capsys.readouterr().err


def test_a_name_that_matches_nothing_is_an_error(capsys):
    assert command.main(options("optim.adamm")) == 2
    assert "expected part of a scenario's name, such as optim.adamw, got ['optim.adamm']" in capsys.readouterr().err


def test_fewer_than_one_parameter_is_refused(capsys):
    with pytest.raises(SystemExit):
        options("--parameters", "0")
    assert "must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot keep a process to a core")
def test_the_process_keeps_to_one_core_and_says_so():
    before = os.sched_getaffinity(0)
    with one_core() as (_, how):
        assert len(os.sched_getaffinity(0)) == 1
        assert how == f"processor time on 1 of {len(before)} cores"
    assert os.sched_getaffinity(0) == before


def test_layers_get_the_gradient_of_every_floating_point_input():
    output, (gradients, *inputs), _ = jax.eval_shape(
        (linear := SCENARIOS["nn.Linear[256 to 256]"].ours()).function, *linear.arguments
    )
    assert [leaf.shape for leaf in jax.tree.leaves(inputs)] == [(2, 256)]
    assert sorted(leaf.shape for leaf in jax.tree.leaves(gradients)) == [(256,), (256, 256)]
    assert output.shape == (2, 256)
    embedding = SCENARIOS["nn.Embedding[10,000 rows]"].ours()
    _, (gradients, *inputs), _ = jax.eval_shape(embedding.function, *embedding.arguments)
    assert inputs == []
    assert [leaf.shape for leaf in jax.tree.leaves(gradients)] == [(10_000, 64)]
