"""Pictures show the values that they are given."""

import numpy as np
import pytest
from PIL import Image

from pushforward import InputError
from pushforward.pictures import (
    _limits,
    as_pixels,
    contact_sheet,
    image_grid,
    save_images,
    scatter_rows,
    write_png,
)


def test_levels_become_the_whole_range_of_grey():
    images = np.arange(17).reshape(17, 1, 1, 1)
    pixels = as_pixels(images, 17).ravel()
    assert pixels[0] == 0
    assert pixels[-1] == 255
    assert (np.diff(pixels.astype(int)) > 0).all()


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_any_number_of_channels(channels, shown):
    images = np.zeros((2, channels, 3, 4))
    assert as_pixels(images, None).shape == (2, 3, 4, shown)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_a_grid_holds_every_image_once_in_order(n):
    images = np.arange(1, n + 1).reshape(n, 1, 1, 1) * np.ones((1, 1, 3, 2), dtype=int)
    grid = image_grid(images, levels=256, columns=2, scale=1)[..., 0]
    for index in range(n):
        y, x = 1 + (index // 2) * 4, 1 + (index % 2) * 3
        assert (grid[y : y + 3, x : x + 2] == index + 1).all()
    assert np.isin(grid, [*range(1, n + 1), 128]).all()


def test_no_images_is_one_sentence():
    with pytest.raises(InputError, match="no images"):
        image_grid(np.zeros((0, 1, 2, 2)), 256)


def test_png_files_hold_the_pixels(tmp_path):
    images = np.random.default_rng(0).integers(256, size=(3, 3, 4, 5))
    assert save_images(tmp_path / "out", images, 256) == 3
    back = np.asarray(Image.open(tmp_path / "out" / "00002.png"))
    assert (back == images[2].transpose(1, 2, 0)).all()
    write_png(tmp_path / "grey.png", as_pixels(images[:1, :1], 256)[0])
    assert (np.asarray(Image.open(tmp_path / "grey.png")) == images[0, 0]).all()


@pytest.mark.parametrize("columns", [1, 2, 9])
def test_rows_of_any_width_are_drawn(columns, tmp_path):
    rows = np.random.default_rng(0).normal(size=(50, columns))
    scatter_rows(tmp_path / "plot.png", rows, rows + 1)
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 300


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("columns", [2, 3])
def test_names_in_scripts_that_the_font_lacks(columns, tmp_path):
    rows = np.random.default_rng(0).normal(size=(50, columns))
    scatter_rows(tmp_path / "plot.png", rows, columns=["数", "년", "ก"][:columns])
    assert (tmp_path / "plot.png").exists()


def test_a_contact_sheet_shows_every_image_in_order_with_its_caption():
    images = np.arange(1, 11).reshape(10, 1, 1, 1) * np.ones((1, 1, 8, 8), dtype=int) * 10
    sheet = contact_sheet(images, 256, [str(i) for i in range(10)])
    assert sheet.shape == (8 + 2 * 98, 8 + 8 * 80, 3)
    for index in range(10):
        y, x = 8 + (index // 8) * 98, 8 + (index % 8) * 80
        assert (sheet[y : y + 72, x : x + 72] == 10 * (index + 1)).all()
        below = sheet[y + 74 : y + 88, x : x + 72]
        assert below.min() < 128  # ink
    same = contact_sheet(images, 256, ["a name that is far too long for an image"] * 10)
    assert same.shape == sheet.shape
    assert (same[:, :8] == 255).all()
    assert (contact_sheet(images, 256) == image_grid(images, 256, columns=8)).all()


@pytest.mark.parametrize("columns", [1, 2, 1000])
def test_pairs_of_any_number_of_columns(columns, tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, columns))
    rows[:, 0] = 3.0  # a column of one value
    scatter_rows(tmp_path / "pairs.png", rows, most=5, pairs=True)
    with Image.open(tmp_path / "pairs.png") as picture:
        assert 300 < picture.width < 2500


def test_an_outlier_does_not_flatten_the_rest():
    values = np.random.default_rng(0).normal(size=10_000)
    values[0] = 1e9
    low, high = _limits([values])
    assert -8 < low < -2 < 2 < high < 8
