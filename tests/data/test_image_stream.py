"""Encoded images as streams: depth, crops, keys, restarts, what cannot be read."""

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from taking import RNG, encode, png16, take

from pushforward.data.folders import files_in, read_images
from pushforward.data.found import Request
from pushforward.data.image_stream import _BATCH
from pushforward.data.store import gather
from pushforward.errors import InputError


def put(folder, **contents):
    for name, content in contents.items():
        if isinstance(content, np.ndarray):
            content = encode(content)
        (folder / f"{name}.png").write_bytes(content)


def stream_of(folder, **request):
    return read_images(folder, files_in(folder), Request(**request), "photos")


def grey(size=(6, 5)):
    return RNG.integers(0, 256, size[::-1], dtype=np.uint8)


def deep(size=(6, 5)):
    return RNG.integers(0, 65536, size[::-1]).astype(np.uint16)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_deep_images_keep_all_their_levels(tmp_path, ending):
    pixels = [deep() for _ in range(3)]
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.{ending}")
    stream = stream_of(tmp_path)
    np.testing.assert_array_equal(take(stream)[0][:, 0], pixels)
    assert (stream.levels, stream.dtype, stream.shape) == (65536, np.uint16, (1, 5, 6))
    assert stream.notes == ["16-bit images were read with 65,536 levels."]


def test_big_endian_tiff_comes_in_native_order(tmp_path):
    pixels = deep()
    image = Image.frombytes("I;16B", (6, 5), pixels.astype(">u2").tobytes())
    image.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(take(stream_of(tmp_path))[0][0, 0], pixels)


def test_among_deep_images_the_others_are_widened(tmp_path):
    narrow, wide, colour = grey(), deep(), RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    put(tmp_path, a=narrow, b=wide)
    stream = stream_of(tmp_path)
    np.testing.assert_array_equal(take(stream)[0][:, 0], [narrow * np.uint16(257), wide])
    assert "1 image of 8 bits multiplied by 257, to be as deep as the others." in stream.notes
    put(tmp_path, c=colour)
    values = take(stream_of(tmp_path))[0]
    np.testing.assert_array_equal(values[1], [wide] * 3)
    np.testing.assert_array_equal(values[2], colour.transpose(2, 0, 1) * np.uint16(257))


def test_deep_colour_is_cut_and_said(tmp_path):
    pixels = RNG.integers(0, 65536, (5, 6, 3))
    put(tmp_path, a=png16(pixels), b=RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    stream = stream_of(tmp_path)
    np.testing.assert_array_equal(take(stream)[0][0], (pixels >> 8).transpose(2, 0, 1))
    assert stream.levels == 256
    assert len(stream.notes) == 1
    assert "1 image of 16-bit colour cut to 8 bits" in stream.notes[0]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_of_32_bits_are_refused(tmp_path, kind):
    Image.fromarray(np.ones((5, 6), kind)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif has 32-bit values .*uint16"):
        _ = stream_of(tmp_path).shape


def test_resizing_deep_images_agrees_with_8_bits(tmp_path):
    """A deep image of 257 times the values is resized to 257 times the result, but for rounding."""
    pixels = grey((40, 30))
    put(tmp_path, a=pixels.astype(np.uint16) * 257)
    wide = take(stream_of(tmp_path, size=12))[0][0, 0]
    put(tmp_path, a=pixels)
    narrow = take(stream_of(tmp_path, size=12))[0][0, 0]
    assert np.abs(wide / 257 - narrow).max() <= 1  # Pillow rounds twice in 8 bits
    put(tmp_path, a=np.tile(np.array([0, 65535] * 20, np.uint16), (30, 1)).repeat(2, 1))
    assert take(stream_of(tmp_path, size=45))[0].max() == 65535  # overshoot does not wrap


def test_the_centre_is_that_of_pillow(tmp_path):
    pixels = grey((40, 31))
    put(tmp_path, a=pixels)
    expected = ImageOps.fit(Image.fromarray(pixels), (8, 8), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(take(stream_of(tmp_path, size=8))[0][0, 0], expected)


def test_random_crops_are_cut_where_the_content_says(tmp_path):
    for i in range(30):
        put(tmp_path, **{f"i{i:02}": np.tile(np.arange(60, dtype=np.uint8), (8, 1)) + np.uint8(i)})
    stream = stream_of(tmp_path, size=8, crop="random")
    values = take(stream)[0]
    left = values[:, 0, 0, 0].astype(int) - np.arange(30)  # columns are numbered, so this is x
    np.testing.assert_array_equal(
        values[:, 0, 0].T - left - np.arange(30), np.arange(8)[:, None].repeat(30, 1)
    )
    assert left.min() >= 0
    assert left.max() <= 52
    assert len(set(left)) > 10
    np.testing.assert_array_equal(take(stream_of(tmp_path, size=8, crop="random"))[0], values)
    (tmp_path / "i07.png").rename(tmp_path / "elsewhere.png")  # the place goes with the content
    np.testing.assert_array_equal(take(stream_of(tmp_path, size=8, crop="random"))[0][0], values[7])


def test_keys_are_hashes_of_the_files(tmp_path):
    put(tmp_path, a=grey(), b=grey())
    expected = [
        int.from_bytes(hashlib.blake2b((tmp_path / f"{n}.png").read_bytes()).digest()[:8], "little")
        for n in "ab"
    ]
    for request in ({}, {"size": 4}, {"shape": (3, 5, 6)}):
        assert list(take(stream_of(tmp_path, **request))[2]) == expected


def test_reading_goes_on_where_it_stopped(tmp_path):
    for i in range(30):
        put(tmp_path, **{f"i{i:02}": grey()})
    put(tmp_path, i05=b"junk", i20=b"junk", i21=np.zeros((5, 6, 3), np.uint8))
    values, _, keys, read = take(stream_of(tmp_path))
    assert (len(values), read) == (28, 30)
    for start in (0, 1, 5, 6, 25, 30):
        stream = stream_of(tmp_path)
        rest, _, rest_keys, rest_read = take(stream, start=start)
        before = start - (start > 5) - (start > 20)
        np.testing.assert_array_equal(rest, values[before:])
        np.testing.assert_array_equal(rest_keys, keys[before:])
        assert rest_read == 30 - start
        assert stream.unreadable.count == (start <= 5) + (start <= 20)
    stream = stream_of(tmp_path)
    stream.counters["grey"] = 5  # put back from an interrupted reading
    take(stream, start=6)
    assert stream.notes == [f"{5 + 22} grey images converted to RGB."]


def test_unreadable_images_are_skipped_up_to_a_limit(tmp_path):
    for i in range(6):
        put(tmp_path, **{f"i{i}": grey(), f"j{i}": encode(grey())[:60]})
    stream = stream_of(tmp_path)
    assert len(take(stream)[0]) == 6
    assert stream.unreadable.count == 6
    assert stream.unreadable.first[0].startswith("j0.png (")
    with pytest.raises(InputError, match=r"more than 5 unreadable images: j0\.png"):
        take(stream_of(tmp_path, max_unreadable=5))
    assert len(take(stream_of(tmp_path, max_unreadable=None))[0]) == 6
    with pytest.raises(InputError, match=r"j0\.png"):
        take(stream_of(tmp_path, whole=True))


def test_no_image_at_all_is_an_error(tmp_path):
    whole = encode(grey())
    put(tmp_path, a=whole[:50], b=whole[:55])  # headers are fine, pixels are not
    with pytest.raises(InputError, match=r"no image of photos .*a\.png"):
        gather(stream_of(tmp_path))
    put(tmp_path, a=b"junk", b=b"")
    with pytest.raises(InputError, match=r"no image of photos .*a\.png \(not an image\)"):
        take(stream_of(tmp_path))


def test_order_holds_over_many_batches(tmp_path):
    count = 2 * _BATCH + 17
    for i in range(count):
        put(tmp_path, **{f"{i}": np.full((1, 2), i % 251, np.uint8)})
    stream = stream_of(tmp_path)
    assert [len(piece.values) for piece in stream.pieces("train")] == [_BATCH, _BATCH, 17]
    np.testing.assert_array_equal(take(stream)[0][:, 0, 0, 0], np.arange(count) % 251)
    assert stream.items == {"train": count}
    assert stream.size == 2 * count
    assert len(stream.files()) == count


def test_palettes_are_grey_if_all_of_them_are(tmp_path):
    pixels = grey()
    Image.fromarray(pixels).convert("P").save(tmp_path / "a.png")
    Image.fromarray(pixels).convert("P").save(tmp_path / "b.gif")
    stream = stream_of(tmp_path)
    np.testing.assert_array_equal(take(stream)[0], [[pixels]] * 2)
    Image.fromarray(np.stack([pixels, pixels // 2, pixels], -1)).convert("P").save(
        tmp_path / "c.png"
    )
    stream = stream_of(tmp_path)
    values = take(stream)[0]
    assert values.shape == (3, 3, 5, 6)
    assert stream.notes == ["2 grey images converted to RGB."]


def test_the_header_pass_sees_what_the_pixels_will_be(tmp_path):
    """Turned photos: all upright in the end, although their headers differ."""
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = grey((5, 6))
    for ending in ("png", "jpg", "webp"):
        Image.fromarray(turned).save(tmp_path / f"a.{ending}", exif=exif)
    Image.fromarray(grey((6, 5))).save(tmp_path / "b.png")
    stream = stream_of(tmp_path)
    assert len(take(stream)[0]) == 4
    assert stream.shape[1:] == (5, 6)


def test_pages_after_the_first_are_not_lost_without_a_word(tmp_path):
    first, *rest = [Image.fromarray(grey()) for _ in range(3)]
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    stream = stream_of(tmp_path)
    np.testing.assert_array_equal(take(stream)[0][0, 0], first)
    assert stream.notes == ["Of 1 image with several frames or pages only the first was taken."]
