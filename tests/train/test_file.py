"""One file holds a state, whole or not at all."""

import io
import json
import os
import re
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from numpy.lib.format import write_array

from jaxtrain.train import load, save
from jaxtrain.train._whole_file import replaced

TREE = {
    "file": jnp.arange(2),
    "kernel": jnp.ones((3, 2)),
    "half": jnp.ones(2, jnp.bfloat16),
    "key": jax.random.key(3),
    "step": jnp.int32(7),
}


def zeros():
    return {**jax.tree.map(jnp.zeros_like, TREE | {"key": 0}), "key": jax.random.key(0)}


def test_a_state_comes_back_with_the_same_bits(net, state, tmp_path, assert_same):
    state, _ = net.train_step(state, net.batch)
    save(tmp_path / "new" / "state.npz", state)
    loaded = load(tmp_path / "new" / "state.npz", net.state)
    assert_same(loaded, state)
    assert loaded.blueprint is net.state.blueprint
    before = net.train_step._cache_size()
    net.train_step(loaded, net.batch)
    assert net.train_step._cache_size() == before
    assert np.load(tmp_path / "new" / "state.npz")["params/out/kernel"].shape == (16, 3)


def test_keys_and_narrow_floats_come_back(tmp_path, assert_same):
    save(tmp_path / "tree", TREE)
    assert_same(load(tmp_path / "tree", zeros()), TREE)
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_arrays_come_back_to_their_devices(tmp_path):
    split = NamedSharding(jax.make_mesh((2,), ("data",), devices=jax.devices()[:2]), PartitionSpec("data"))
    tree = {"x": jax.device_put(jnp.arange(4.0), split)}
    save(tmp_path / "x.npz", tree)
    loaded = load(tmp_path / "x.npz", tree)
    assert loaded["x"].sharding == split
    assert loaded["x"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_every_kind_come_back(tmp_path, assert_same, implementation):
    key = jax.random.key(3, impl=implementation)
    save(tmp_path / "key", {"key": key})
    loaded = load(tmp_path / "key", {"key": jax.random.key(0, impl=implementation)})
    assert_same(loaded, {"key": key})
    assert loaded["key"].dtype == key.dtype


def test_a_file_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    """Otherwise the name could be that of an empty file after a power cut."""
    events, sync, replace = [], os.fsync, os.replace

    def synced(number):
        sync(number)
        events.append(os.fstat(number).st_size)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names: events.append("replaced") or replace(*names))
    save(tmp_path / "tree.npz", TREE)
    assert events == [(tmp_path / "tree.npz").stat().st_size, "replaced"]


def test_two_processes_may_write_the_same_file(tmp_path, monkeypatch):
    """The one that is done last wins."""
    path = tmp_path / "file"
    with replaced(path) as one:
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with replaced(path) as other:
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_arrays_may_be_larger_than_zip_files_once_could_hold(tmp_path, monkeypatch, assert_same):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    tree = {"x": jnp.arange(100)}
    save(tmp_path / "x.npz", tree)
    assert_same(load(tmp_path / "x.npz", tree), tree)


class Runs:
    """Runs a program when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("the file has run a program",)


def test_no_file_can_run_a_program(tmp_path):
    path, content = tmp_path / "x.npz", io.BytesIO()
    write_array(content, np.array([Runs()]), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("jaxtrain.json", json.dumps({"format": 1, "arrays": {"x": "float32[1]"}}))
        archive.writestr("x.npy", content.getvalue())
    with pytest.raises(
        ValueError, match=r"which cannot be read \(ValueError: Object arrays cannot be loaded when allow"
    ):
        load(path, {"x": jnp.ones(1)})


def test_what_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    save(tmp_path / "tree.npz", TREE)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxtrain.train.file.write_array", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "tree.npz", zeros())
    assert load(tmp_path / "tree.npz", zeros())["step"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["tree.npz"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": jnp.ones((2, 3))}, "kernel: float32[3, 2] in the file, float32[2, 3] in `like`; make"),
        ({"kernel": jnp.ones((3, 2), jnp.int32)}, "kernel: float32[3, 2] in the file, int32[3, 2] in `like`; make"),
        ({"bias": jnp.ones(1)}, "does not fit: bias: nothing in the file, float32[1] in `like`; make"),
        ({"key": jax.random.key(0, impl="rbg")}, "key: key<fry>[] in the file, key<rbg>[] in `like`; make"),
        ({"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}, "c: nothing in the file, int32[] in `like` and 2 more; make"),
    ],
)
def test_what_does_not_fit_is_named(changes, message, tmp_path):
    save(tmp_path / "tree.npz", TREE)
    with pytest.raises(ValueError, match=re.escape(message)):
        load(tmp_path / "tree.npz", zeros() | changes)


def test_damaged_foreign_and_newer_files(tmp_path):
    path = tmp_path / "tree.npz"
    save(path, TREE)
    whole = path.read_bytes()
    flipped = whole.replace(np.ones(6, np.float32).tobytes(), np.arange(6, dtype=np.float32).tobytes())
    for content in (whole[: len(whole) // 2], b"", b"not a file of NumPy", flipped):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"expected a whole file of jaxtrain.train.save, got {path}, which"):
            load(path, TREE)
    np.savez(path, kernel=np.ones(3))
    with pytest.raises(ValueError, match=rf"expected a whole file of jaxtrain.train.save, got {path}, .*KeyError"):
        load(path, TREE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("jaxtrain.json", json.dumps({"format": 9, "arrays": {}}))
    with pytest.raises(ValueError, match=rf"expected a file in format 1, got {path} in format 9; read it with"):
        load(path, TREE)
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        load(tmp_path / "nothing.npz", TREE)


def test_arrays_on_several_machines_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(type(TREE["kernel"]), "is_fully_addressable", False)
    with pytest.raises(
        ValueError, match=r"save: expected arrays on this machine, got file on several; use train\.Check"
    ):
        save(tmp_path / "x", TREE)
    assert list(tmp_path.iterdir()) == []


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"save: expected a pytree with arrays, got \{\}"):
        save(tmp_path / "x", {})
    with pytest.raises(TypeError, match="save: expected arrays, got 'a' as b/0"):
        save(tmp_path / "x", {"b": ["a"]})
