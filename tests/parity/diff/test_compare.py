"""A whole port: right, and with mistakes in four places at once."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import interop, losses, nn, optim
from parity import diff
from parity.__main__ import main
from parity.diff import command
from parity.diff.html import as_html

RNG = np.random.default_rng(0)
BATCH = RNG.normal(size=(6, 5)), np.array([0, 1, 2, 0, 1, 2])


def theirs():
    torch.manual_seed(0)
    layers = torch.nn.Linear(5, 4), torch.nn.LayerNorm(4), torch.nn.GELU(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 3)
    return torch.nn.Sequential(*layers)


def ours(eps=1e-5, approximate=False):
    rngs = nnx.Rngs(0)

    def gelu(x):
        return diff.mark("2", nnx.gelu(x, approximate=approximate))

    last = nn.Linear(4, 3, rngs=rngs)
    model = nnx.Sequential(nn.Linear(5, 4, rngs=rngs), nn.LayerNorm(4, eps), gelu, nn.Dropout(0.5, rngs=rngs), last)
    return interop.load_state_dict(model, theirs().state_dict())


def torch_loss(model, x, labels):
    return torch.nn.functional.cross_entropy(model(x), labels)


def run(model, smoothing=0.0, decay=0.0):
    def loss(model, x, labels):
        return losses.cross_entropy(model(x), labels, label_smoothing=smoothing)

    optimizers = lambda module: torch.optim.SGD(module.parameters(), 0.1), optim.sgd(0.1, weight_decay=decay)
    return diff.compare(theirs(), model, BATCH, loss=(torch_loss, loss), optimizer=optimizers, steps=2)


@pytest.fixture(scope="module")
def right():
    return run(ours())


@pytest.fixture(scope="module")
def wrong():
    return run(ours(1e-3, approximate=True), smoothing=0.1, decay=0.01)


def test_a_right_port_raises_no_alarm(right):
    assert right.same
    assert right.unmatched == []
    kinds = {each.kind for each in right.running}
    assert kinds >= {"output", "output gradient", "loss", "parameter gradient", "parameter after the step"}
    assert [each.path for each in right.running[:4]] == ["0", "1", "2", "3"]
    assert "No difference in float64" in str(right)


def test_every_wrong_part_is_named_at_once_with_its_cause(wrong):
    assert [found.name for found in wrong.findings] == ["1", "2", "loss", "optimizer"]
    says = [found.cause.says for found in wrong.findings]
    assert says[0] == "ε of the norm is 0.001, PyTorch's is 1e-05"
    assert "tanh approximation" in says[1]
    assert says[2] == "the label smoothing is 0.1, PyTorch's is 0"
    assert says[3] == "the weight decay is 0.01 (a default), PyTorch's is 0"
    assert (wrong.first.kind, wrong.first.path, wrong.first.step) == ("output", "1", 0)
    assert "1 (LayerNorm)" in str(wrong)


def test_the_report_is_json_and_html(wrong):
    content = json.loads(wrong.as_json(), parse_constant=pytest.fail)
    assert content["findings"][0]["cause"]["says"].startswith("ε of the norm")
    assert content["first"]["path"] == "1"
    page = as_html(wrong)
    assert page.count("<svg") == 2
    assert page.count("<circle") >= len(wrong.running)
    assert "ε of the norm is 0.001" in page


def test_the_command_writes_files_and_its_status_tells(right, wrong, tmp_path, monkeypatch, capsys):
    check = tmp_path / "port_check.py"
    check.write_text("def wrong():\n    return REPORT\n")
    monkeypatch.setattr(
        command, "loaded", lambda name: lambda: {"right": right, "wrong": wrong}[name.partition(":")[2]]
    )
    files = ["--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
    assert main(["diff", "port_check:wrong", *files]) == 1
    assert json.loads((tmp_path / "a.json").read_text())["same"] is False
    assert "<svg" in (tmp_path / "a.html").read_text()
    assert "First difference, as it runs: output of 1" in capsys.readouterr().out
    assert main(["diff", "port_check:right", "--cost"]) == 0
    assert "s of CPU time, peak memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected MODULE:FUNCTION"),
        (["no_such_file.py:check"], "expected MODULE:FUNCTION that exists, got 'no_such_file.py:check'"),
        (["json:no_such_function"], "has no attribute 'no_such_function'"),
        (["json:JSONDecoder"], "to return a parity.diff.Report, got JSONDecoder"),
        (["json:JSONDecoder", "--html", "no/such/a.html"], "--html: expected the folder of no/such/a.html to exist"),
        (["json:JSONDecoder", "--json", "no/such/a.json"], "--json: expected the folder of no/such/a.json to exist"),
        (["json"], "expected MODULE:FUNCTION, such as port_check.py:check, got 'json'"),
        ([":check"], "expected MODULE:FUNCTION, such as port_check.py:check, got ':check'"),
        (["no.such:check"], "expected MODULE:FUNCTION that exists, got 'no.such:check'"),
    ],
)
def test_the_command_says_what_it_needs(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["diff", *arguments])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_function_that_fails_is_not_a_difference(capsys):
    assert main(["diff", "json:loads"]) == 2
    assert "missing 1 required positional argument" in capsys.readouterr().err


def test_a_function_that_ends_python_is_not_a_port_without_differences(tmp_path):
    (tmp_path / "port_check.py").write_text("def check():\n    raise SystemExit(0)\n")
    assert main(["diff", f"{tmp_path}/port_check.py:check"]) == 2


def test_a_golden_is_checked_without_pytorch(tmp_path, monkeypatch):
    path = tmp_path / "golden.npz"
    diff.record(path, theirs(), BATCH, loss=torch_loss)

    def loss(model, x, labels):
        return losses.cross_entropy(model(x), labels)

    assert diff.check(path, ours(), loss=loss).same
    found = diff.check(path, ours(1e-3), loss=loss)
    assert found.first.path == "1"
    assert found.findings == []


def test_numbers_that_pytorch_keeps_in_the_default_dtype_are_exact():
    linear = torch.nn.Linear(5, 3)
    model = interop.load_state_dict(nn.Linear(5, 3, rngs=nnx.Rngs(0)), linear.state_dict())
    optimizers = lambda module: torch.optim.NAdam(module.parameters(), 1e-3), optim.nadam(1e-3)
    assert diff.compare(linear, model, BATCH[:1], optimizer=optimizers).same
    assert torch.get_default_dtype() == torch.float32


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 7, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids):
        return self.head(self.words(ids))


class Untied(nnx.Module):
    def __init__(self):
        self.words = nnx.Embed(7, 4, rngs=nnx.Rngs(0))
        self.head = nnx.Linear(4, 7, use_bias=False, rngs=nnx.Rngs(0))

    def __call__(self, ids):
        return self.head(self.words(ids))


def test_weights_that_are_tied_in_pytorch_alone_are_named():
    torch.manual_seed(0)
    theirs = Tied()
    ours = interop.load_state_dict(Untied(), theirs.state_dict())
    (found,) = diff.compare(theirs, ours, (np.arange(6).reshape(2, 3),)).findings
    assert found.name == "the model itself"
    assert found.cause.says == "words.weight and head.weight are arrays of their own, in PyTorch they are one"
    assert found.cause.complete


class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(4, 3))

    def forward(self, x):
        return 0.3 * x @ self.weight.T


def halves(params, x):
    return jnp.concatenate([x @ params["left"], x @ params["right"]], -1)


@pytest.mark.parametrize(("factor", "same"), [(0.3, True), pytest.param(0.3001, False, marks=pytest.mark.long)])
def test_weights_that_were_combined_in_float32_are_judged_in_float32(factor, same):
    theirs = Scaled()
    left, right = (jnp.asarray(np.float32(factor) * half.detach().numpy().T) for half in theirs.weight.chunk(2))
    report = diff.compare(theirs, (halves, {"left": left, "right": right}), (RNG.normal(size=(5, 3)),))
    assert report.same == same
    assert [found.name for found in report.findings] == ([] if same else ["the model itself"])
    assert not same or "weight is not lined up" in report.notes[0]
