"""What people train in PyTorch, by `fit` alone and by PyTorch's own loop: optimizers, schedules, averages, data."""

from collections import OrderedDict

import jax
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch.nn import functional as F

from jaxtrain import interop, losses, nn, optim, schedules
from jaxtrain.train import (
    AveragedEvery,
    Batches,
    EarlyStopping,
    Placement,
    TrainState,
    fit,
    update_bn,
)

from .recipes import QUIET, assert_same_weights, classify, cut, labels, loaded, looped, rows

pytestmark = pytest.mark.usefixtures("float64")


def batch_normed(seed: int = 0) -> tuple[nnx.Module, torch.nn.Module]:
    """Linear layers around a batch norm, with the same weights in both frameworks.

    The first layer has no bias: before a batch norm its gradient is rounding alone, of which Adam makes whole steps.
    """
    torch.manual_seed(seed)
    first = torch.nn.Linear(4, 8, bias=False)
    theirs = torch.nn.Sequential(first, torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    rngs = nnx.Rngs(0)
    layers = [nn.Linear(4, 8, bias=False, rngs=rngs), nn.BatchNorm(8), nnx.relu, nn.Linear(8, 3, rngs=rngs)]
    return loaded(nnx.Sequential(*layers), theirs), theirs


@pytest.mark.long
def test_classification_reference():
    """torchvision/references/classification: no decay of norms, label smoothing, warm-up and cosine, clipping, EMA."""
    ours, theirs = batch_normed()
    data = rows(20, 4), labels(20, 3)
    warm_up = schedules.linear_lr(0.1, start_factor=0.01, total_iters=2)
    cosine = schedules.cosine_annealing_lr(0.1, T_max=2)
    lr = schedules.per_epoch(schedules.sequential_lr([warm_up, cosine], [2]))
    sgd = optim.param_groups(
        optim.sgd, {"^layers/1/": {"weight_decay": 0.0}, None: {}}, lr=lr, momentum=0.9, weight_decay=1e-2
    )
    average = optim.averaged_model(optim.get_ema_avg_fn(0.8), use_buffers=True)
    state = TrainState.create(ours, optax.chain(optim.clip_grad_norm(0.5), sgd), average=average)
    state, history = fit(
        state,
        lambda model, batch: losses.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.1),
        data,
        validation=data,
        epochs=4,
        batch_size=5,
        **QUIET,
    )

    norm = list(theirs[1].parameters())
    others = [one for one in theirs.parameters() if all(one is not other for other in norm)]
    groups = [{"params": others}, {"params": norm, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=2),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2),
        ],
        [2],
    )
    ema = torch.optim.swa_utils.AveragedModel(
        theirs, avg_fn=torch.optim.swa_utils.get_ema_avg_fn(0.8), use_buffers=True
    )
    truth = looped(
        lambda x, y: F.cross_entropy(theirs(x), y, label_smoothing=0.1),
        optimizer,
        cut(data, 5),
        range(4),
        before_step=lambda: torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5),
        after_step=lambda: ema.update_parameters(theirs),
        after_epoch=scheduler.step,
    )
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    assert_same_weights(state, theirs)
    # PyTorch cuts the average of a counter off at every step, so that its last bit decides.
    assert_same_weights(state.averaged(), ema.module, but="num_batches_tracked")
    ema.eval()
    val_loss = F.cross_entropy(ema(torch.as_tensor(data[0])), torch.as_tensor(data[1]), label_smoothing=0.1).item()
    np.testing.assert_allclose(history["val_loss"][-1], val_loss, rtol=1e-9)


@pytest.mark.long
def test_one_cycle():
    """fast.ai's one cycle: the rate rises and falls, the momentum falls and rises, at every step."""
    ours, theirs = batch_normed()
    data = rows(20, 4), labels(20, 3)
    sgd = optim.sgd(schedules.one_cycle_lr(0.5, epochs=3), momentum=schedules.one_cycle_momentum(epochs=3))
    state, history = fit(TrainState.create(ours, sgd), classify, data, epochs=3, batch_size=5, **QUIET)

    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, epochs=3, steps_per_epoch=4)
    used = []

    def stepped():
        used.append(scheduler.get_last_lr()[0])
        if len(used) < 12:
            scheduler.step()

    truth = looped(lambda x, y: F.cross_entropy(theirs(x), y), optimizer, cut(data, 5), range(3), after_step=stepped)
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    np.testing.assert_allclose(history["lr"], used[3::4], rtol=1e-9)
    assert_same_weights(state, theirs)


class Lit(nnx.Module):
    """A module that knows its steps and its optimizer, as Lightning has them."""

    def __init__(self, network: nnx.Module) -> None:
        self.network = network

    def training_step(self, batch):
        x, y = batch
        return losses.cross_entropy(self.network(x), y)

    def validation_step(self, batch):
        x, y = batch
        logits = self.network(x)
        return {"loss": losses.cross_entropy(logits, y), "accuracy": logits.argmax(-1) == y}

    def configure_optimizers(self):
        return optim.adam(schedules.per_epoch(schedules.cosine_annealing_lr(1e-2, T_max=3)))


@pytest.mark.long
def test_lightning_module():
    ours, theirs = batch_normed()
    data, held_out = (rows(20, 4), labels(20, 3)), (rows(12, 4, seed=1), labels(12, 3))
    module = Lit(ours)
    state, history = fit(
        TrainState.create(module, module.configure_optimizers()),
        Lit.training_step,
        data,
        validation=held_out,
        metrics_fn=Lit.validation_step,
        epochs=3,
        batch_size=5,
        listeners=[EarlyStopping("val_loss", patience=9, restore_best=False)],
        **QUIET,
    )
    optimizer, validated = torch.optim.Adam(theirs.parameters(), lr=1e-2), []
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)

    def validate():
        scheduler.step()
        theirs.eval()
        validated.append(F.cross_entropy(theirs(torch.as_tensor(held_out[0])), torch.as_tensor(held_out[1])).item())
        theirs.train()

    truth = looped(lambda x, y: F.cross_entropy(theirs(x), y), optimizer, cut(data, 5), range(3), after_epoch=validate)
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    np.testing.assert_allclose(history["val_loss"], validated, rtol=1e-9)
    assert_same_weights(state.model().network, theirs)


@pytest.mark.long
def test_swa():
    """Equal weights of the last epochs, the schedule that goes with them, and statistics from another pass."""
    ours, theirs = batch_normed()
    data = rows(20, 4), labels(20, 3)
    cosine = schedules.cosine_annealing_lr(0.1, T_max=5)
    late = schedules.swa_lr(cosine(2), swa_lr=0.05, anneal_epochs=2)
    lr = schedules.per_epoch(schedules.sequential_lr([cosine, lambda epoch: late(epoch)], [2]))
    average = AveragedEvery(optim.averaged_model(), every=4, start=8)
    state = TrainState.create(ours, optim.sgd(lr, momentum=0.9), average=average)
    state, history = fit(state, classify, data, epochs=5, batch_size=5, **QUIET)
    averaged = state.averaged().model()
    update_bn(Batches(data, 5).epoch(), averaged)

    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)
    swa = torch.optim.swa_utils.AveragedModel(theirs)
    swa_scheduler = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)
    epochs = iter(range(5))

    def epoch_ended():
        if next(epochs) >= 2:
            swa.update_parameters(theirs)
            swa_scheduler.step()
        else:
            scheduler.step()

    truth = looped(
        lambda x, y: F.cross_entropy(theirs(x), y), optimizer, cut(data, 5), range(5), after_epoch=epoch_ended
    )
    torch.optim.swa_utils.update_bn([torch.as_tensor(x) for x, _ in cut(data, 5)(0)], swa)
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    assert_same_weights(averaged, swa.module)


class FineTuned(nnx.Module):
    def __init__(self, body: nnx.Module, rngs: nnx.Rngs) -> None:
        self.body, self.head = body, nn.Linear(3, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.body(x))


@pytest.mark.long
def test_fine_tuning_of_a_head():
    """Frozen parameters have no gradient, no decay and no share in the norm; statistics go on, as in PyTorch."""
    ours, body = batch_normed()
    theirs = torch.nn.Sequential(OrderedDict(body=body.requires_grad_(False), head=torch.nn.Linear(3, 2)))
    data = rows(20, 4), labels(20, 2)
    model = loaded(FineTuned(ours, nnx.Rngs(1)), theirs)
    adamw = optax.chain(optim.clip_grad_norm(0.1), optim.adamw(1e-2))
    state = TrainState.create(model, adamw, trainable="^head/")
    state, history = fit(state, classify, data, epochs=3, batch_size=5, **QUIET)
    truth = looped(
        lambda x, y: F.cross_entropy(theirs(x), y),
        torch.optim.AdamW(theirs[1].parameters(), lr=1e-2),
        cut(data, 5),
        range(3),
        before_step=lambda: torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1),
    )
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    assert set(state.params) == {"head"}
    assert_same_weights(state, theirs)


@pytest.mark.long
def test_a_run_resumed_from_pytorch():
    """A script was stopped after two of four epochs: `fit` goes on with its weights, moments and schedule."""
    _, theirs = batch_normed()
    data = rows(20, 4), labels(20, 3)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)

    def train(epochs):
        def loss_of(x, y):
            return F.cross_entropy(theirs(x), y)

        return looped(loss_of, optimizer, cut(data, 5), epochs, after_epoch=scheduler.step)

    train(range(2))
    ours, _ = batch_normed(seed=1)
    lr = schedules.per_epoch(schedules.cosine_annealing_lr(1e-2, T_max=4))
    state = TrainState.create(loaded(ours, theirs), optim.adamw(lr))
    state = interop.load_optimizer(state, optimizer.state_dict(), [name for name, _ in theirs.named_parameters()])
    state, history = fit(state, classify, data, epochs=4, start_epoch=2, batch_size=5, **QUIET)
    np.testing.assert_allclose(history["loss"], train(range(2, 4)), rtol=1e-9)
    assert history["epoch"] == [2, 3]
    assert_same_weights(state, theirs)


@pytest.mark.long
def test_a_data_loader_on_eight_devices():
    """A batch norm sees the whole batch, as PyTorch's SyncBatchNorm does."""
    ours, theirs = batch_normed()
    dataset = torch.utils.data.TensorDataset(torch.as_tensor(rows(48, 4)), torch.as_tensor(labels(48, 3)))

    def loader():
        generator = torch.Generator().manual_seed(5)
        return torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=True, generator=generator)

    state = TrainState.create(ours, optim.sgd(0.1, momentum=0.9))
    state, history = fit(state, classify, loader(), epochs=3, placement=Placement(), progress=False)
    batches = loader()
    truth = looped(
        lambda x, y: F.cross_entropy(theirs(x), y),
        torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9),
        lambda epoch: batches,
        range(3),
    )
    assert len(jax.tree.leaves(state.params)[0].devices()) == 8
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    assert_same_weights(state, theirs)
