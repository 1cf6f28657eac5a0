"""The examples in their quick form, and the files that they read."""

import argparse
import gzip
import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def cnn():
    return runpy.run_path(str(EXAMPLES / "cnn.py"))


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A folder with 64 + 32 images of 6 x 6 pixels, one of the files compressed."""
    for part, rows in (("train", 64), ("t10k", 32)):
        images = RNG.integers(0, 256, size=(rows, 6, 6)).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx(np.arange(rows, dtype=np.uint8) % 10))
        )
    return tmp_path


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda script: script.stem)
def test_help_tells_every_default(script, monkeypatch):
    class Parsed(Exception):
        pass

    options = []

    def listed(parser, arguments=None):
        options.extend(parser._actions)
        parser.format_help()
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", listed)
    with pytest.raises(Parsed):
        runpy.run_path(str(script))["main"]()
    without = [option.dest for option in options if option.dest != "help" and "default: " not in (option.help or "")]
    assert options
    assert not without


@pytest.mark.long
def test_cnn_on_mnist_files(cnn, mnist, capsys):
    options = ["--epochs", "1", "--bfloat16", "--schedule", "cosine", "--data-parallel"]
    assert cnn["main"](["--data", str(mnist), *options]) == 0
    printed = capsys.readouterr().out
    assert "of 32 test images right" in printed
    assert "on 8 devices" in printed


def test_what_mnist_files_hold(cnn, mnist):
    (images, labels), (held_out, _) = cnn["read"](mnist)
    assert images.shape == (64, 6, 6, 1)
    assert held_out.shape == (32, 6, 6, 1)
    assert labels.tolist() == [row % 10 for row in range(64)]
    assert abs(images.mean()) < 1e-6
    file = mnist / "train-images-idx3-ubyte"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"expected 2304 bytes for the shape \[64  6  6\], got 2319 in all"):
        cnn["read"](mnist)
    file.write_bytes(b"PK" + whole)
    with pytest.raises(ValueError, match=r"expected an IDX file of bytes with 3 axes, got one that begins b'PK"):
        cnn["read"](mnist)


def test_what_cifar_files_hold(cnn, tmp_path):
    image = np.arange(3072).reshape(3, 32, 32) % 251
    record = bytes([7]) + image.astype(np.uint8).tobytes()
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (tmp_path / name).write_bytes(2 * record)
    (images, labels), (held_out, _) = cnn["read_cifar"](tmp_path)
    assert (images.shape, held_out.shape, labels.tolist()) == ((10, 32, 32, 3), (2, 32, 32, 3), [7] * 10)
    np.testing.assert_array_equal(images[3], image.transpose(1, 2, 0))
    (tmp_path / "test_batch.bin").write_bytes(record[:-1])
    with pytest.raises(ValueError, match=r"test_batch.bin: expected records of 3073 bytes, got 3072 bytes"):
        cnn["read_cifar"](tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes([10]) + record[1:])
    with pytest.raises(ValueError, match=r"expected labels from 0 to 9, got 10; is it CIFAR-100\?"):
        cnn["read_cifar"](tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected data_batch_1.bin \(CIFAR-10\) or train-images"):
        cnn["read"](tmp_path / "nothing")


@pytest.mark.long
@pytest.mark.usefixtures("promotion")
def test_text_goes_on_from_its_checkpoint(tmp_path, capsys):
    main = runpy.run_path(str(EXAMPLES / "text.py"))["main"]
    options = ["--bytes", "20000", "--width", "8", "--depth", "1", "--run", str(tmp_path / "run"), "--epochs"]
    assert main([*options, "1"]) == 1
    assert "epoch 1/1" in capsys.readouterr().out
    assert main([*options, "2"]) == 1
    out = capsys.readouterr().out
    assert "epoch 2/2" in out
    assert "epoch 1/2" not in out
    assert "def read(" in out
    assert "FAIL: the loss is above 2.0" in out


@pytest.mark.long
def test_a_gan_that_has_not_learned_fails_its_check(capsys, tmp_path):
    gan = runpy.run_path(str(EXAMPLES / "gan.py"))
    assert gan["main"](["--epochs", "1", "--picture", str(tmp_path / "gan.png")]) == 1
    printed = capsys.readouterr().out
    assert "FAIL: expected 2% of every digit, and 50% that are clear" in printed
    assert (tmp_path / "gan.png").read_bytes().startswith(b"\x89PNG")
