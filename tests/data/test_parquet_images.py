"""Images in Parquet files: blocks of rows, damage, where reading goes on."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from taking import RNG, encode, take

from pushforward.data.found import Request
from pushforward.data.parquet_images import parquet_images
from pushforward.errors import InputError

PIXELS = RNG.integers(0, 256, (30, 5, 6), dtype=np.uint8)


def part(path, span, labels=True, blocks=4):
    table = {"image": [{"bytes": encode(PIXELS[i]), "path": None} for i in span]}
    if labels:
        table["label"] = [None if i == 2 else i for i in span]
    pq.write_table(pa.table(table), path, row_group_size=blocks)
    return path


def stream_of(paths, splits=("train",), **request):
    groups = paths if isinstance(paths, dict) else dict.fromkeys(splits, paths)
    schema = pq.ParquetFile(next(iter(groups.values()))[0]).schema_arrow
    return parquet_images(groups, "set", schema, ["image"], Request(**request))


def test_rows_come_in_order_from_any_row_on(tmp_path):
    paths = [part(tmp_path / "a.parquet", range(13)), part(tmp_path / "b.parquet", range(13, 30))]
    values, labels, _, read = take(stream_of(paths))
    np.testing.assert_array_equal(values[:, 0], PIXELS)
    np.testing.assert_array_equal(labels, [-1 if i == 2 else i for i in range(30)])
    assert read == 30
    for start in (1, 4, 7, 13, 14, 29, 30):
        rest, _, _, read = take(stream_of(paths), start=start)
        np.testing.assert_array_equal(rest[:, 0], PIXELS[start:])
        assert read == 30 - start


def test_a_broken_part_is_counted_and_named(tmp_path):
    a, b = part(tmp_path / "a.parquet", range(13)), part(tmp_path / "b.parquet", range(13, 30))
    b.write_bytes(b.read_bytes()[:-20])
    stream = stream_of([a, b])
    values, _, _, read = take(stream)
    np.testing.assert_array_equal(values[:, 0], PIXELS[:13])
    assert (read, sum(stream.items.values())) == (14, 14)
    assert stream.unreadable.first[0].startswith("b.parquet (")
    with pytest.raises(InputError, match=r"b\.parquet"):
        take(stream_of([a, b], whole=True))
    schema = pq.ParquetFile(a).schema_arrow
    with pytest.raises(InputError, match=r"b\.parquet"):
        take(parquet_images({"train": [b]}, "set", schema, ["image"], Request()))


def test_a_damaged_block_is_skipped_and_the_rest_read(tmp_path):
    path = part(tmp_path / "a.parquet", range(12))
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(content))
    stream = stream_of([path])
    values, labels, _, read = take(stream)
    np.testing.assert_array_equal(values[:, 0], PIXELS[[0, 1, 2, 3, 8, 9, 10, 11]])
    assert list(labels) == [0, 1, -1, 3, 8, 9, 10, 11]
    assert read == 12
    assert stream.unreadable.first[0].startswith("rows 4 to 7 of a.parquet (")
    rest, _, _, read = take(stream_of([path]), start=8)
    assert (len(rest), read) == (4, 4)


def test_a_part_without_the_column_is_told(tmp_path):
    a = part(tmp_path / "a.parquet", range(3))
    b = part(tmp_path / "b.parquet", range(3), labels=False)
    with pytest.raises(InputError, match=r"b\.parquet lacks the column label"):
        take(stream_of([a, b]))


def test_null_cells_are_unreadable(tmp_path):
    pq.write_table(pa.table({"image": [encode(PIXELS[0]), None]}), tmp_path / "a.parquet")
    stream = stream_of([tmp_path / "a.parquet"])
    assert len(take(stream)[0]) == 1
    assert stream.unreadable.first == ["row 1 of a.parquet (no bytes)"]
