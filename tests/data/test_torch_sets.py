"""Map-style torch data sets."""

import numpy as np
import pytest
import torch
from PIL import Image
from taking import RNG, take
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from pushforward.data.found import Found, Request
from pushforward.data.torch_sets import from_torch_set, is_torch_set
from pushforward.errors import InputError

PIXELS = RNG.integers(0, 256, (300, 3, 6, 5), dtype=np.uint8)


class Items(Dataset):
    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        if isinstance(self.items[i], Exception):
            raise self.items[i]
        return self.items[i]


def stream_of(items, **request):
    return from_torch_set(Items(items), Request(**request))


def test_only_map_style_sets_are_meant():
    class Endless(IterableDataset):
        def __iter__(self):
            yield 1

    assert is_torch_set(Items([1]))
    assert is_torch_set(TensorDataset(torch.zeros(1)))
    assert not any(map(is_torch_set, (Endless(), [1], np.zeros(3), "digits")))


@pytest.mark.parametrize("wrap", [lambda x: x, torch.from_numpy])
@pytest.mark.parametrize(
    "turned", [lambda x: x, lambda x: np.ascontiguousarray(x.transpose(1, 2, 0))]
)
def test_images_come_back(wrap, turned):
    stream = stream_of([(wrap(turned(x)), i % 7) for i, x in enumerate(PIXELS)])
    values, labels, keys, read = take(stream)
    np.testing.assert_array_equal(values, PIXELS)
    np.testing.assert_array_equal(labels, np.arange(300) % 7)
    assert (stream.levels, keys, read, stream.items) == (256, None, 300, {"train": 300})
    np.testing.assert_array_equal(take(stream, start=256)[0], PIXELS[256:])


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.uint16, np.int64, np.float32])
def test_integers_of_any_type_are_pixels(kind):
    pixels = PIXELS[:, 0] % 2 if kind is np.bool_ else PIXELS[:, 0]
    stream = stream_of([x.astype(kind) for x in pixels])
    np.testing.assert_array_equal(take(stream)[0][:, 0], pixels)
    assert stream.levels == {np.bool_: 2, np.uint16: 65536}.get(kind, 256)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_exact_255ths_become_integers_again(kind):
    stream = stream_of([torch.from_numpy(x.astype(kind) / kind(255)) for x in PIXELS])
    np.testing.assert_array_equal(take(stream)[0], PIXELS)
    assert "255ths" in stream.notes[0]
    found = from_torch_set(TensorDataset(torch.from_numpy(PIXELS).float() / 255), Request())
    np.testing.assert_array_equal(found.parts["train"].values, PIXELS)
    assert "255ths" in found.notes[0]


def test_normalised_images_are_refused():
    exact = PIXELS[0].astype(np.float32) / 255
    for image in ((exact - 0.5) / 0.25, exact**2):
        with pytest.raises(InputError, match="leave out Normalize"):
            stream_of([image])
    with pytest.raises(InputError, match="item 70 of Items holds fractions"):
        take(stream_of([exact] * 70 + [exact**2]))


def test_zeros_and_ones_have_two_levels():
    binary = (PIXELS > 127).astype(np.float32)
    stream = stream_of(list(binary))
    np.testing.assert_array_equal(take(stream)[0], binary)
    assert stream.levels == 2
    with pytest.raises(InputError, match=r"item 80 .*fractions"):
        take(stream_of([*binary[:80], PIXELS[0] / 255]))


def test_rows_come_back():
    rows = RNG.normal(size=(300, 4))
    for kind, cast in ((np.float32, torch.float32), (np.float64, torch.float64)):
        stream = stream_of([torch.from_numpy(row).to(cast) for row in rows])
        np.testing.assert_array_equal(take(stream)[0], rows.astype(kind))
        assert (stream.shape, stream.levels, stream.columns) == (
            (4,),
            None,
            ("x0", "x1", "x2", "x3"),
        )
    stream = stream_of(list(rows), columns=("x2", "x0"))
    np.testing.assert_array_equal(take(stream)[0], rows[:, [2, 0]])
    assert stream.columns == ("x2", "x0")
    np.testing.assert_array_equal(take(stream_of([3.0, 4.0]))[0], [[3], [4]])
    with pytest.raises(InputError, match="no 'x9'"):
        stream_of(list(rows), columns=("x9",))
    rows[7, 1] = np.nan
    with pytest.raises(InputError, match=r"item 7 .*missing"):
        take(stream_of(list(rows)))
    np.testing.assert_array_equal(take(stream_of(list(rows), missing="keep"))[0], rows)


def test_tensor_sets_and_their_subsets_are_read_at_once():
    rows, labels = torch.from_numpy(RNG.normal(size=(9, 4))), torch.arange(9)
    whole = TensorDataset(rows, labels)
    found = from_torch_set(Subset(Subset(whole, [5, 3, 1, 8]), [2, 0]), Request())
    assert isinstance(found, Found)
    np.testing.assert_array_equal(found.parts["train"].values, rows[[1, 5]])
    np.testing.assert_array_equal(found.parts["train"].labels, [1, 5])
    found = from_torch_set(TensorDataset(rows, rows), Request())
    assert found.parts["train"].labels is None
    assert found.notes == ["Tensor 1 of TensorDataset was not read."]


def test_subsets_keep_the_names_of_classes():
    items = Items([(PIXELS[i], i % 2) for i in range(6)], classes=["cat", "dog"])
    stream = from_torch_set(Subset(items, [4, 1]), Request())
    np.testing.assert_array_equal(take(stream)[0], PIXELS[[4, 1]])
    assert (stream.name, stream.label_names, stream.size) == ("Items", ("cat", "dog"), 2 * 90)


def test_images_of_pillow_follow_the_rules_of_files():
    grey = [Image.fromarray(x) for x in PIXELS[:4, 0]]
    np.testing.assert_array_equal(take(stream_of(grey))[0], PIXELS[:4, :1])
    colour = Image.fromarray(np.ascontiguousarray(PIXELS[0].transpose(1, 2, 0)))
    values = take(stream_of([*grey, colour]))[0]
    np.testing.assert_array_equal(values[4], PIXELS[0])
    np.testing.assert_array_equal(values[0], [PIXELS[0, 0]] * 3)
    assert take(stream_of([*grey, colour.resize((20, 9))], size=4))[0].shape == (5, 3, 4, 4)
    deep = Image.fromarray(PIXELS[0, 0].astype(np.uint16) * 100)
    assert take(stream_of([deep]))[0].max() == int(PIXELS[0, 0].max()) * 100
    for odd, said in ((colour.resize((20, 9)), "20x9"), (Image.new("F", (5, 6)), "32-bit")):
        with pytest.raises(InputError, match=said):
            take(stream_of([*grey, odd]))
    with pytest.raises(InputError, match=r"item 80 .*3 channels.*convert"):
        take(stream_of([grey[0]] * 80 + [colour]))


def test_items_that_raise_are_skipped_and_counted():
    items = [OSError("truncated"), PIXELS[0], ValueError(), PIXELS[1]]
    stream = stream_of(items)
    values, _, _, read = take(stream)
    np.testing.assert_array_equal(values, PIXELS[:2])
    assert read == 4
    assert stream.unreadable.first == ["item 0 (OSError: truncated)", "item 2 (ValueError)"]
    with pytest.raises(InputError, match="item 0"):
        take(stream_of(items, whole=True))
    with pytest.raises(InputError, match="no item of Items could be read"):
        stream_of(items[:1])


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "no items"),
        ([{"x": 1}], "dict.*give x or"),
        (["a"], "str"),
        ([PIXELS[0], PIXELS[0, :, :4]], r"item 1 .*shape \(3, 4, 5\), the first .*\(3, 6, 5\)"),
        ([PIXELS[:2]], r"\(2, 3, 6, 5\)"),
        ([PIXELS[0].astype(int) * 9], "levels=4096"),
        ([PIXELS[0].astype(int) - 300], "from -"),
    ],
)
def test_what_does_not_fit_is_named(items, said):
    with pytest.raises(InputError, match=said):
        take(stream_of(items))
