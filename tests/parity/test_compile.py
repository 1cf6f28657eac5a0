"""`python -m parity compile`: what a program sends, and what a machine's name means."""

import jax
import pytest

from jaxtrain.train import Placement
from parity.__main__ import main
from parity.compile import report
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
  ROOT %h = (f32[4]{0}, f32[32]{0}) all-gather-start(%d), channel_id=4, replica_groups=[1,8]<=[8], dimensions={0}
}
"""


def test_collectives_are_counted_as_often_as_their_loop_runs():
    assert traffic(PROGRAM) == {
        "all-gather": Traffic(count=3 + 1, bytes=3 * 32 * 8 * 2 + 32 * 4),
        "all-reduce": Traffic(count=1, bytes=4 * 4 + 2 * 8),
        "reduce-scatter": Traffic(count=3, bytes=3 * 2 * 4 * 4),
    }


def test_a_loop_of_unknown_length_is_not_guessed():
    hidden = PROGRAM.replace(', backend_config={"known_trip_count":{"n":"3"}}', "")
    assert traffic(hidden) is None
    assert traffic(PROGRAM.replace("body=%body", "body=%condition").replace("known_trip_count", "other")) is not None


@pytest.mark.usefixtures("promotion")
def test_a_step_is_compiled_without_arrays():
    devices = Machine("here", tuple(jax.devices()), 1e6, {})
    result = compile_step(devices, "tiny", "both", sequences=1)
    assert result.parameters == 475_648
    # Three float32 arrays a parameter. Scales and positions are whole, "model" splits the others into 4 parts, and
    # "data" all but attend_out, 32,768 numbers, into 2 more.
    assert result.state == pytest.approx(12 * (16_896 + 32_768 / 4 + 425_984 / 8), rel=0.01)
    assert result.traffic is not None
    assert result.traffic["all-reduce"].count >= 4
    assert result.temporaries > 0
    assert not result.fits
    table = report.markdown([result], "note").splitlines()
    assert table[2].startswith("| here | 475,648 | both | 0.000942 GB |")
    assert "| no |" in table[2]


@pytest.mark.parametrize(
    ("state", "temporaries", "refused", "fits"),
    [(6, 4, "", True), (7, 4, "", False), (11, 0, "", False), (6, 0, "RESOURCE_EXHAUSTED", False)],
)
def test_a_step_fits_if_its_state_and_temporaries_do_and_the_compiler_took_it(state, temporaries, refused, fits):
    result = Compiled("here", 10, "tiny", "data", 1, state, temporaries, 1, {}, refused)
    assert result.fits == fits
    row = report.markdown([result], "note").splitlines()[2]
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
