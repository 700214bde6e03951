"""CSV, Parquet and data frames."""

import gzip
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pushforward.data import describe, open_data, read_for
from pushforward.errors import InputError

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(50, 3)), columns=["a", "b", "c"])


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "separator"),
    [("t.csv", ","), ("t.csv.gz", ","), ("t.tsv", "\t"), ("t.tsv.gz", "\t"), ("t.csv", ";")],
)
def test_csv_gives_the_numbers_back(tmp_path, name, separator):
    path = write(tmp_path / name, FRAME.to_csv(index=False, sep=separator))
    np.testing.assert_array_equal(read_for(path, shape=(3,)), FRAME.to_numpy())
    data = open_data(path)
    assert (data.name, data.columns, data.notes) == ("t", ("a", "b", "c"), ())


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1.5,2\n3,4\n",
        "a;b\n1,5;2\n3;4\n",  # as spreadsheets write it in half of Europe
        "\n\na,b\n1.5,2\n3,4\n",
        "\ufeffa,b\r\n1.5,2\r\n3,4\r\n",
        "a, b\n1.5, 2\n3, 4\n",
        ",a,b\n0,1.5,2\n1,3,4\n",  # with pandas' index
        "1.5,2\n3,4\n",  # without a header
        "1.5,NA\n1.5,2\n3,4\n",  # nor a complete first row
        "a|b\n1.5|2\n3|4\n",
        "a;b\n1;\n1,5;2\n3;4\n",  # the first fraction comes late
        '"a, in m";b\n1,5;2\n3;4\n',
        "a,b,t,d\n1.5,2,x,2020-01-01\n3,4,y,2020-01-02\n",
        'a,b\n"1.5","2"\n3,4\n',
        "a,b\n1.5,2\n?,5\n,6\nNA,7\n3,4\n",
    ],
    ids=repr,
)
def test_dialects_of_csv(tmp_path, text):
    path = write(tmp_path / "t.csv", text)
    read = read_for(path, shape=(2,), missing="drop")
    np.testing.assert_array_equal(read, [[1.5, 2], [3, 4]])


@pytest.mark.parametrize("index", [False, True])
def test_columns_without_names_of_pandas_are_no_row(tmp_path, index):
    pd.DataFrame(FRAME.to_numpy()).to_csv(tmp_path / "t.csv", index=index)
    data = open_data(tmp_path / "t.csv", fractions=(0, 0))
    np.testing.assert_array_equal(data.train, FRAME.to_numpy())
    assert data.columns == ("0", "1", "2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty file"),
        ("\n\n", "empty file"),
        ("a,b\n", "zero rows"),
        ("a,b,a,,\n1,2,3,4,5\n", "several columns called 'a'; rename them"),
        ("a, a\n1,2\n", "several columns called 'a'"),
        ("a,b\n1,2\n1,2\n", "each numeric column .* one and the same value in all rows: a, b"),
        ("a,b\n1,2,3\n4,5,6\n", r"none of its 2 lines .* line 2 of t.csv \(3 cells for 2\)"),
        ('a,b\n"1,2\n', r"line 2 of t.csv \(1 cell for 2\)"),
        ("a,b\nx,y\n", "no numeric column"),
        ("a,b\n1,\n,2\n", "each of the 2 rows"),
        ("a,b\n1,inf\n3,2\n", r"infinite value at row 0 .*'b'"),
    ],
    ids=repr,
)
def test_broken_csv_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        open_data(write(tmp_path / "t.csv", text))


def test_binary_and_cut_csv_are_refused(tmp_path):
    (tmp_path / "b.csv").write_bytes(bytes(range(128, 256)))
    whole = gzip.compress(FRAME.to_csv().encode())
    (tmp_path / "c.csv.gz").write_bytes(whole[:-200])
    (tmp_path / "d.csv.gz").write_bytes(b"not gzip")
    for name in ("b.csv", "c.csv.gz", "d.csv.gz"):
        with pytest.raises(InputError, match=name):
            open_data(tmp_path / name)


@pytest.mark.parametrize("ending", ["csv", "parquet", "frame"])
def test_every_form_of_a_table_reads_alike(tmp_path, ending):
    frame = FRAME.assign(
        n=np.arange(50), flag=FRAME["a"] > 0, text="x", label=np.arange(50) % 3, hollow=np.nan
    )
    frame.loc[[4, 9], "b"] = np.nan
    source = frame
    if ending == "csv":
        source = tmp_path / "t.csv"
        frame.to_csv(source, index=False)
    elif ending == "parquet":
        source = tmp_path / "t.parquet"
        frame.to_parquet(source)
    data = open_data(source)
    notes = " ".join(data.notes)
    kept = frame.drop([4, 9])
    assert data.columns == ("a", "b", "c", "n", "flag")
    assert "left out: text" in notes
    assert "without any value were left out: hollow" in notes
    assert "2 rows with missing values were dropped" in notes
    assert [column["missing"] for column in describe(data)["columns"]] == [0, 2, 0, 0, 0]
    order = np.argsort(data.everything[:, 3])
    expected = kept[list(data.columns)].astype(float).to_numpy()
    np.testing.assert_array_equal(data.everything[order], expected)
    labels = np.concatenate([data.labels[split] for split in data.splits()])
    np.testing.assert_array_equal(labels[order], kept["label"])
    asked = open_data(source, columns=["label", "a"])
    assert asked.columns == ("label", "a")
    assert asked.labels is None


def test_a_csv_that_is_not_utf8_says_the_way_out(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("höhe,b\n1,2\n3,4\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"byte 0xf6\. Save it as UTF-8\.$"):
        open_data(path)


@pytest.mark.parametrize("separator", [",", ";"])
def test_the_cell_that_makes_a_column_text_is_named(tmp_path, separator):
    frame = FRAME.astype(object).assign(city="here")
    frame.loc[[7, 9], "b"] = "oops"
    frame.loc[3, "b"] = None  # a missing value is no odd cell
    decimal = "," if separator == ";" else "."
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False, sep=separator, decimal=decimal)
    if separator == ";":
        path.write_text(path.read_text().replace(".", ","))
    for source in (path, frame[["a", "b", "c", "city"]].astype({"a": float, "c": float})):
        data = open_data(source)
        assert data.columns == ("a", "c")
        assert data.notes == (
            "Columns that are not numeric were left out: b (row 7: 'oops'), city.",
        )
    with pytest.raises(InputError, match=r"'b' of t.csv is not numeric \(row 7: 'oops'\)"):
        open_data(path, columns=["b"])
    with pytest.raises(InputError, match=r"'city' of t.csv is not numeric; choose"):
        open_data(path, columns=["city"])


@pytest.mark.parametrize("ending", ["csv", "parquet", "frame"])
def test_constant_columns_of_a_table_are_left_out_unless_named(tmp_path, ending):
    frame = FRAME.assign(one=1.0, two=2)
    frame.loc[5, "one"] = np.nan  # costs no row, since the column goes
    source = frame if ending == "frame" else tmp_path / f"t.{ending}"
    if ending == "csv":
        frame.to_csv(source, index=False)
    elif ending == "parquet":
        frame.to_parquet(source)
    data = open_data(source)
    assert (data.columns, len(data), data.missing) == (("a", "b", "c"), 50, (0, 0, 0))
    assert data.notes == ("Columns with one and the same value were left out: one, two.",)
    named = open_data(source, columns=["two", "a"])
    assert named.columns == ("two", "a")
    assert named.notes == ("Columns with one and the same value in all of train: two.",)
    # A model has its columns: what is constant in its new rows stays.
    read = read_for(frame[:1] if ending == "frame" else source, shape=(2,), columns=["two", "b"])
    assert (read[:, 0] == 2).all()
    assert open_data(np.column_stack([FRAME, np.ones(50)])).shape == (4,)


def test_a_column_that_is_constant_in_the_complete_rows_is_left_out():
    frame = FRAME.assign(d=1.0)
    frame.loc[3, ["a", "d"]] = [np.nan, 2.0]
    data = open_data(frame)
    assert (data.columns, len(data)) == (("a", "b", "c"), 49)


def test_few_distinct_integers_are_noted():
    n = np.arange(200)
    frame = pd.DataFrame({"flag": n % 2 > 0, "age": n % 20, "n": n % 21, "half": n % 4 / 2})
    said = "hold few distinct values: a density over real numbers can grow without bound there"
    (note,) = open_data(frame).notes
    assert note == f"Columns flag, age {said}, so the loss is not comparable."
    assert open_data(frame[["n", "half"]]).notes == ()
    assert open_data(frame[:99]).notes == ()
    assert open_data(frame[["n", "age"]], levels=21).notes == ()
    (note,) = open_data(frame, columns=["age"]).notes
    assert note.startswith("Column age holds few")
    data = open_data(frame[["age", "n"]])
    assert open_data(data, columns=["age"]).notes == data.notes  # once


def test_columns_asked_for_must_be_there_and_numeric():
    frame = FRAME.assign(text="x")
    with pytest.raises(InputError, match=r"no column 'aa'.*Did you mean 'a'"):
        open_data(frame, columns=["aa"])
    with pytest.raises(InputError, match="'text' of table is not numeric"):
        open_data(frame, columns=["text"])
    with pytest.raises(InputError, match="twice"):
        open_data(frame, columns=["a", "a"])
    with pytest.raises(InputError, match="several columns called 'a', 'b', 'c', 'text'"):
        open_data(pd.concat([frame, frame], axis=1))


def test_float32_stays_float32(tmp_path):
    FRAME.astype(np.float32).to_parquet(tmp_path / "a.parquet")
    FRAME.to_parquet(tmp_path / "b.parquet")
    assert open_data(tmp_path / "a.parquet").train.dtype == np.float32
    assert open_data(tmp_path / "b.parquet").train.dtype == np.float64


def test_parquet_parts_are_splits_by_name(tmp_path):
    for i, name in enumerate(["train-2", "train-10", "validation-0", "test-0"]):
        (FRAME + 10 * i).to_parquet(tmp_path / f"{name}.parquet")
    data = open_data(tmp_path)
    expected = np.concatenate([FRAME, FRAME + 10])
    np.testing.assert_array_equal(data.train, expected)  # part 2 before part 10
    np.testing.assert_array_equal(data.validation, FRAME + 20)
    np.testing.assert_array_equal(data.test, FRAME + 30)
    globbed = open_data(str(tmp_path / "train-*.parquet"))
    assert len(globbed) == 100
    assert 1 <= len(globbed.test) <= 25
    alone = open_data(tmp_path / "test-0.parquet")
    assert 25 <= len(alone.train) <= 48


def test_parts_without_the_same_columns_are_refused(tmp_path):
    FRAME.to_parquet(tmp_path / "train-0.parquet")
    FRAME[["a", "b"]].to_parquet(tmp_path / "train-1.parquet")
    with pytest.raises(InputError, match=r"train-1\.parquet lacks the column c"):
        open_data(tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_cut_parquet_is_refused(tmp_path, keep):
    path = tmp_path / "a.parquet"
    FRAME.to_parquet(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.parquet"):
        open_data(path)


def encode(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("column", ["struct", "binary"])
def test_parquet_of_encoded_images(tmp_path, kind, column):
    pixels = RNG.integers(0, 256, (12, 6, 7, 3), dtype=np.uint8)
    cells = [encode(image, kind) for image in pixels]
    if column == "struct":
        cells = [{"bytes": cell, "path": None} for cell in cells]
    frame = pd.DataFrame({"image": cells, "label": np.arange(12)})
    frame[:8].to_parquet(tmp_path / "train-0.parquet")
    frame[8:].to_parquet(tmp_path / "test-0.parquet")
    data = open_data(tmp_path)
    assert (data.shape, data.levels) == ((3, 6, 7), 256)
    assert len(data.test) == 4
    assert len(data.train) + len(data.validation) == 8
    for split, images in data.splits().items():
        expected = pixels[data.labels[split]].transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(images, expected)
    read = read_for(tmp_path, shape=(3, 6, 7), levels=256)
    np.testing.assert_array_equal(read, pixels.transpose(0, 3, 1, 2))


def test_a_broken_image_in_parquet_is_named(tmp_path):
    cells = [encode(RNG.integers(0, 256, (5, 5), dtype=np.uint8)) for _ in range(12)]
    cells[7] = cells[7][:60]
    path = tmp_path / "a.parquet"
    pd.DataFrame({"image": cells}).to_parquet(path)
    data = open_data(path, columns=["image"])
    assert len(data) == 11
    assert any("row 7 of a.parquet" in note for note in data.notes)
    with pytest.raises(InputError, match=r"row 7 of a\.parquet"):
        read_for(path, shape=(1, 5, 5))


def test_parquet_without_columns_or_with_twins(tmp_path):
    twins = pa.Table.from_arrays([pa.array([1.0, 2.0])] * 2, ["a", "a"])
    for table, said in ((twins, "several columns called 'a'"), (pa.table({}), "has no columns")):
        pq.write_table(table, tmp_path / "t.parquet")
        with pytest.raises(InputError, match=said):
            open_data(tmp_path / "t.parquet")


def test_checksums_of_parquet_are_looked_at(tmp_path):
    path = tmp_path / "t.parquet"
    numbers = np.arange(1000.0)
    table = pa.table({"a": numbers})
    pq.write_table(table, path, write_page_checksum=True, compression=None, use_dictionary=False)
    content = path.read_bytes()
    at = content.index(numbers[500:510].tobytes())
    path.write_bytes(content[:at] + b"\x40" + content[at + 1 :])
    with pytest.raises(InputError, match=r"cannot read .*t\.parquet as Parquet"):
        open_data(path)


def test_columns_in_the_names_of_folders_are_noted(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        FRAME.to_parquet(tmp_path / f"year={year}" / "part.parquet")
    said = "Columns that only the names of folders hold were not read: year."
    assert open_data(tmp_path).notes == (said,)
    assert open_data(tmp_path / "year=2023").notes == ()


def test_values_that_are_absurdly_far_out_are_noted():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 3))
    rows[7, 1] = -1e30
    rows[:, 2] = np.exp(3 * rows[:, 2])  # heavy tails are no mistake
    (note,) = [note for note in open_data(rows, fractions=(0.1, 0.0)).notes if "farther" in note]
    assert note.startswith("Column x1 (up to -1e+30) holds values millions of times farther out")
    assert not any("farther" in note for note in open_data(rows[8:]).notes)
