"""The binary files of CIFAR."""

import numpy as np
import pytest
from taking import RNG

from pushforward.data.cifar import is_cifar, read_cifar
from pushforward.errors import InputError


def batch(path, count, labels):
    rows = RNG.integers(0, 256, (count, labels + 3072), dtype=np.uint8)
    path.write_bytes(rows.tobytes())
    return rows


def test_ten_classes(tmp_path):
    rows = [batch(tmp_path / f"data_batch_{i}.bin", 3, 1) for i in (10, 2, 1)]
    test = batch(tmp_path / "test_batch.bin", 2, 1)
    (tmp_path / "batches.meta.txt").write_text("airplane\nautomobile\n\n")
    files = list(tmp_path.iterdir())
    assert is_cifar(files)
    found = read_cifar(files, "cifar")
    expected = np.concatenate(rows[::-1])  # 10 after 2
    np.testing.assert_array_equal(found.parts["train"].labels, expected[:, 0])
    image = found.parts["train"].values[4]
    assert image.shape == (3, 32, 32)
    assert image[1, 2, 3] == expected[4, 1 + 1024 + 2 * 32 + 3]  # green, third row, fourth column
    np.testing.assert_array_equal(found.parts["test"].values.reshape(2, -1), test[:, 1:])
    assert (found.levels, found.label_names) == (256, ("airplane", "automobile"))


def test_a_hundred_classes_keep_the_fine_label(tmp_path):
    rows = batch(tmp_path / "train.bin", 3, 2)
    batch(tmp_path / "test.bin", 2, 2)
    (tmp_path / "fine_label_names.txt").write_text("apple\nbee\n")
    found = read_cifar(list(tmp_path.iterdir()), "cifar")
    np.testing.assert_array_equal(found.parts["train"].labels, rows[:, 1])
    np.testing.assert_array_equal(found.parts["train"].values.reshape(3, -1), rows[:, 2:])
    assert found.label_names == ("apple", "bee")


def test_what_is_no_whole_cifar_is_told(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    batch(path, 3, 1)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="cut off after 2 images"):
        read_cifar([path], "cifar")
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"data_batch_1\.bin"):
        read_cifar([path], "cifar")
    with pytest.raises(InputError, match="open one of their folders"):
        read_cifar([path, tmp_path / "copy" / path.name], "cifar")
    assert not is_cifar([tmp_path / "train.bin"])
    assert not is_cifar([tmp_path / "train.csv", tmp_path / "test.csv"])


@pytest.mark.parametrize("names", [["data_batch_1", "batches.meta"], ["train", "test", "meta"]])
def test_pickles_are_never_loaded(tmp_path, names):
    files = [tmp_path / name for name in names]
    assert is_cifar(files)
    with pytest.raises(InputError, match=r"pickles, which are never loaded.*binary version"):
        read_cifar(files, "cifar")
