"""Sheets and moving pictures show the values that they are given, each in its place."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from pushforward import InputError
from pushforward.sheets import frames, labelled_grid, write_gif


def images(rows, columns, side=2):
    values = 5 * np.arange(1, rows * columns + 1).reshape(rows, columns, 1, 1, 1)
    return values * np.ones((1, 1, 1, side, side), dtype=int)


def test_every_image_is_in_its_place():
    sheet = labelled_grid(images(2, 3), 256, scale=4)[..., 0]
    assert sheet.shape == (4 + 2 * 12, 4 + 3 * 12)
    for row in range(2):
        for column in range(3):
            y, x = 4 + row * 12, 4 + column * 12
            assert (sheet[y : y + 8, x : x + 8] == 5 * (3 * row + column + 1)).all()


def test_captions_take_room_of_their_own_and_are_cut_to_their_column():
    plain = labelled_grid(images(2, 3), 256, scale=16)
    short = labelled_grid(images(2, 3), 256, ["a", "bb"], ["1", "2", "3"], scale=16)
    long = labelled_grid(images(2, 3), 256, ["a", "bb"], ["far too long a caption"] * 3, scale=16)
    assert short.shape == long.shape
    height, width = plain.shape[:2]
    top, left = short.shape[0] - height, short.shape[1] - width
    assert top > 10
    assert left > 10
    assert (short[top:, left:][4:, 4:] == plain[4:, 4:]).all(), "nothing is written over images"
    assert (short[:top].min(axis=(0, 2)) < 128).any(), "ink above"
    assert (short[:, :left].min(axis=(1, 2)) < 128).any(), "ink to the left"


def test_small_images_are_enlarged_and_large_ones_are_not():
    assert labelled_grid(images(1, 1, side=8), 256).shape == (72, 72, 3)
    assert labelled_grid(images(1, 1, side=100), 256).shape == (108, 108, 3)


def test_no_images_is_one_sentence():
    with pytest.raises(InputError, match="no images"):
        labelled_grid(np.zeros((0, 3, 1, 2, 2)), 256)


@pytest.mark.parametrize("rows", [3, 12])
def test_there_is_a_frame_for_each_column_and_all_are_of_one_size(rows):
    pictures = frames(images(rows, 4), 256, ["0", "0.25", "0.5", "1000000"])
    assert len(pictures) == 4
    assert len({picture.shape for picture in pictures}) == 1
    for column, picture in enumerate(pictures):
        for row in range(rows):
            assert (picture == 5 * (4 * row + column + 1)).any()


def test_the_light_of_real_numbers_does_not_flicker():
    values = np.zeros((1, 2, 1, 2, 2))
    values[0, 0], values[0, 1] = 0.5, 1.0
    values[0, 1, 0, 0, 0] = 0.0
    first, second = frames(values, None)
    assert first[10, 10, 0] in (127, 128)
    assert second.max() == 255


def test_a_gif_holds_the_greys_there_and_back(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [np.repeat(rng.integers(256, size=(6, 5, 1), dtype=np.uint8), 3, 2) for _ in "abc"]
    write_gif(tmp_path / "way.gif", pictures, milliseconds=50, back=True)
    with Image.open(tmp_path / "way.gif") as file:
        assert file.info["loop"] == 0
        shown = [(np.asarray(f.convert("RGB")), f.info["duration"]) for f in iterate(file)]
    assert [length for _, length in shown] == [250, 50, 250, 50]
    for (found, _), index in zip(shown, (0, 1, 2, 1), strict=True):
        assert (found == pictures[index]).all()


def iterate(file):
    return ImageSequence.Iterator(file)


def test_few_colours_are_kept_and_one_picture_is_enough(tmp_path):
    picture = np.random.default_rng(0).integers(256, size=(4, 4, 3), dtype=np.uint8)
    write_gif(tmp_path / "one.gif", [picture], back=True)
    with Image.open(tmp_path / "one.gif") as file:
        assert (np.asarray(file.convert("RGB")) == picture).all()
    with pytest.raises(InputError, match="at least one picture"):
        write_gif(tmp_path / "none.gif", [])
    assert not (tmp_path / "none.gif").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        write_gif(tmp_path / "file" / "x.gif", [np.zeros((2, 2, 3), np.uint8)])
