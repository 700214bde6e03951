"""Folders of images, and the idx files of MNIST."""

import errno
import gzip
import os
import struct

import numpy as np
import pytest
from PIL import Image

from pushforward.data import open_data, read_for
from pushforward.data.folders import list_images
from pushforward.data.idx import read_idx
from pushforward.data.paths import image_files
from pushforward.errors import InputError

RNG = np.random.default_rng(0)


def save(path, pixels=None, mode="L", size=(6, 5), **options):
    """Save an image, random if no pixels are given; size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        channels = () if mode in ("L", "P", "1") else (len(Image.new(mode, (1, 1)).getbands()),)
        pixels = RNG.integers(0, 256, (*size[::-1], *channels), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if image.mode != mode:
        image = image.convert(mode)
    image.save(path, **options)
    return pixels


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossless_images_come_back_bit_by_bit(tmp_path, ending, mode):
    if (ending, mode) == ("webp", "L"):
        pytest.skip("WebP has no greyscale")
    options = {"lossless": True} if ending == "webp" else {}
    pixels = np.stack([save(tmp_path / f"{i}.{ending}", mode=mode, **options) for i in range(12)])
    expected = pixels[:, None] if mode == "L" else pixels.transpose(0, 3, 1, 2)
    read = read_for(tmp_path, shape=expected.shape[1:], levels=256)
    np.testing.assert_array_equal(read, expected)  # 2 before 10
    assert [path.stem for path in list_images(tmp_path)] == [str(i) for i in range(12)]
    data = open_data(tmp_path)
    assert (data.shape, data.levels, data.notes) == (expected.shape[1:], 256, ())


def test_grey_among_colour_becomes_rgb(tmp_path):
    grey, colour = save(tmp_path / "a.png"), save(tmp_path / "b.png", mode="RGB")
    data = open_data(tmp_path, fractions=(0, 0))
    np.testing.assert_array_equal(data.train[0], np.stack([grey] * 3))
    np.testing.assert_array_equal(data.train[1], colour.transpose(2, 0, 1))
    assert data.notes == ("1 grey image converted to RGB.",)
    # A model of three channels gets them even where all images are grey.
    read = read_for(tmp_path / "a.png", shape=(3, 5, 6), levels=256)
    np.testing.assert_array_equal(read, np.stack([grey] * 3)[None])


def test_transparency_is_laid_on_white(tmp_path):
    pixels = np.zeros((5, 6, 4), np.uint8)
    pixels[:, 3:, 3] = 255  # the left half is see-through, the right half black
    save(tmp_path / "a.png", pixels, "RGBA")
    data = open_data(tmp_path)
    assert (data.train[0, :, :, :3] == 255).all()
    assert (data.train[0, :, :, 3:] == 0).all()
    assert "transparency" in data.notes[0]


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("LA", 1), ("P", 3), ("CMYK", 3)])
def test_other_modes_are_converted(tmp_path, mode, channels):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(5, 6, -1)
    np.testing.assert_array_equal(open_data(path).train[0], expected.transpose(2, 0, 1))


def test_photos_are_turned_upright(tmp_path):
    pixels = RNG.integers(0, 256, (5, 6), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    save(tmp_path / "a.png", pixels, exif=exif)
    np.testing.assert_array_equal(open_data(tmp_path).train[0, 0], np.rot90(pixels, -1))


def test_sizes_must_agree_or_be_asked_for(tmp_path):
    save(tmp_path / "a.png", size=(6, 5))
    save(tmp_path / "b.png", size=(20, 9))
    with pytest.raises(InputError, match=r"6x5 \(1\), 20x9 \(1\).*Pass size"):
        open_data(tmp_path)
    assert open_data(tmp_path, size=4).shape == (1, 4, 4)
    assert read_for(tmp_path, shape=(1, 4, 4), size=4).shape == (2, 1, 4, 4)


def test_size_scales_the_shorter_side_and_keeps_the_centre(tmp_path):
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 200  # the middle third is what the crop keeps
    save(tmp_path / "a.png", pixels)
    images = open_data(tmp_path, size=4).train
    assert images.shape == (1, 1, 4, 4)
    assert (images > 150).all()  # black beyond the edge shines in a little


def test_unreadable_images_are_named(tmp_path):
    for i in range(10):
        save(tmp_path / f"{i}.png")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:70])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.gif").write_text("hello")
    data = open_data(tmp_path)
    assert len(data) == 10
    assert all(name in data.notes[0] for name in ("cut.png", "empty.jpg", "text.gif"))
    with pytest.raises(InputError, match=r"cut\.png"):
        read_for(tmp_path, shape=(1, 5, 6))
    with pytest.raises(InputError, match=r"no image of .*text\.gif"):
        open_data(tmp_path / "text.gif")


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_deep_images_are_read_whole(tmp_path, ending):
    pixels = RNG.integers(0, 65536, (5, 6)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / f"deep.{ending}")
    data = open_data(tmp_path)
    assert (data.shape, data.levels, data.train.dtype) == ((1, 5, 6), 65536, np.uint16)
    np.testing.assert_array_equal(data.train[0, 0], pixels)
    assert data.notes == ("16-bit images were read with 65,536 levels.",)
    read = read_for(tmp_path, shape=(1, 5, 6), levels=65536)
    np.testing.assert_array_equal(read[0, 0], pixels)
    with pytest.raises(InputError, match=r"256 levels.*65536"):
        read_for(tmp_path, shape=(1, 5, 6), levels=256)


def test_folders_are_splits_and_labels(tmp_path):
    count = {"train": 10, "val": 2, "test": 3}
    for split, n in count.items():
        for value, animal in ((10, "cat"), (20, "dog")):
            for i in range(n):
                save(tmp_path / split / animal / f"{i}.png", np.full((5, 6), value, np.uint8))
    data = open_data(tmp_path)
    assert [len(part) for part in data.splits().values()] == [20, 4, 6]
    assert data.label_names == ("cat", "dog")
    for split, images in data.splits().items():
        np.testing.assert_array_equal(images[:, 0, 0, 0], 10 + 10 * data.labels[split])
    inner = open_data(tmp_path / "train")
    assert inner.label_names == ("cat", "dog")
    assert len(inner) == 20
    save(tmp_path / "loose.png", size=(6, 5))  # then they are just folders
    assert len(open_data(tmp_path, fractions=(0, 0)).train) == 31


def test_names_are_in_the_order_of_the_images(tmp_path):
    names = ["train/2.png", "train/10.png", "val/b/1.png", "test/0.png"]
    for name in reversed(names):
        save(tmp_path / name, np.full((5, 6), names.index(name), np.uint8))
    assert image_files(str(tmp_path)) == names
    read = read_for(tmp_path, shape=(1, 5, 6), levels=256)
    assert list(read[:, 0, 0, 0]) == [0, 1, 2, 3]
    assert image_files(str(tmp_path / "test/0.png")) is None
    assert image_files("digits") is None
    (tmp_path / "a.parquet").touch()
    assert image_files(str(tmp_path)) is None


def test_hidden_files_are_not_data(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / ".thumbs" / "b.png")
    (tmp_path / "._a.png").write_bytes(b"junk")
    data = open_data(tmp_path)
    assert len(data) == 1
    assert data.notes == ()


def test_what_is_no_file_is_no_data(tmp_path):
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")  # to open it would wait for ever
    assert len(open_data(tmp_path)) == 1
    with pytest.raises(InputError, match=r"b\.png is neither a file nor a folder"):
        open_data(tmp_path / "b.png")


def test_a_link_does_not_take_the_place_of_the_folder(tmp_path):
    save(tmp_path / "real" / "a.png")
    (tmp_path / "a link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    assert list_images(tmp_path) == [tmp_path / "real" / "a.png"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    save(tmp_path / "closed" / "b.png")
    honest = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return honest(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"cannot read the folder .*closed: Permission denied"):
        open_data(tmp_path)


def test_data_of_other_kinds_in_the_folder_are_noted(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("a,1")
    (tmp_path / "README.md").write_text("mine")
    assert open_data(tmp_path).notes == ("Beside the images, these were not read: labels.csv.",)


def idx(values, code=8):
    kind = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[code]
    shape = b"".join(struct.pack(">I", n) for n in values.shape)
    return bytes([0, 0, code, values.ndim]) + shape + values.astype(kind).tobytes()


IMAGES = RNG.integers(0, 256, (60, 5, 6), dtype=np.uint8)


@pytest.fixture
def mnist(tmp_path):
    def put(name, values):
        content = idx(values)
        path = tmp_path / "raw" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    put("train-images-idx3-ubyte.gz", IMAGES[:50])
    put("train-labels-idx1-ubyte", np.arange(50))
    put("t10k-images.idx3-ubyte", IMAGES[50:])
    put("t10k-labels-idx1-ubyte.gz", np.arange(10))
    return tmp_path


def test_mnist_keeps_its_test_and_cuts_the_end_of_train(mnist):
    data = open_data(mnist)
    np.testing.assert_array_equal(data.train[:, 0], IMAGES[:40])
    np.testing.assert_array_equal(data.validation[:, 0], IMAGES[40:50])
    np.testing.assert_array_equal(data.test[:, 0], IMAGES[50:])
    np.testing.assert_array_equal(data.labels["validation"], np.arange(40, 50))
    np.testing.assert_array_equal(read_for(mnist, shape=(1, 5, 6), levels=256)[:, 0], IMAGES)


@pytest.mark.parametrize("code", [8, 11, 12, 13, 14])
def test_single_idx_files_of_every_type(tmp_path, code):
    path = tmp_path / "some-idx3"
    path.write_bytes(idx(IMAGES, code))
    np.testing.assert_array_equal(read_for(path, shape=(1, 5, 6), levels=256)[:, 0], IMAGES)
    assert read_idx(path).dtype.isnative


def test_broken_idx_is_refused(mnist, tmp_path):
    raw = mnist / "raw"
    with pytest.raises(InputError, match="labels, not images"):
        open_data(raw / "train-labels-idx1-ubyte")
    path = raw / "t10k-images.idx3-ubyte"
    whole = path.read_bytes()
    for broken in (whole[:-7], whole[:9], whole + b"\0", b"", b"\1\2\3\4" + whole[4:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="t10k-images"):
            open_data(mnist)
    path.write_bytes(whole)
    zipped = raw / "train-images-idx3-ubyte.gz"
    zipped.write_bytes(zipped.read_bytes()[:-50])
    with pytest.raises(InputError, match="train-images"):
        open_data(mnist)
    zipped.write_bytes(gzip.compress(idx(IMAGES[:20])))
    with pytest.raises(InputError, match="20 images"):
        open_data(mnist)
