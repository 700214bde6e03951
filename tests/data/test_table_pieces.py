"""Tables of several files, in pieces, with lines that are no rows; small and large the same way."""

import gzip

import numpy as np
import pandas as pd
import pytest

from pushforward.data import delimited, open_data, parquet, read_for
from pushforward.errors import InputError

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(400, 3)), columns=["a", "b", "c"])


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 700)
    monkeypatch.setattr(parquet, "_rows_at_a_time", lambda schema: 37)


def same(one, other):
    for split, values in one.splits().items():
        np.testing.assert_array_equal(values, other.splits()[split])
        assert values.dtype == other.splits()[split].dtype
        if one.labels is not None:
            np.testing.assert_array_equal(one.labels[split], other.labels[split])
    for name in ("name", "kind", "shape", "levels", "columns", "notes", "missing", "label_names"):
        assert getattr(one, name) == getattr(other, name), name


def awkward():
    """Everything at once: text, dates, truth, labels, missing, constant, hollow, few integers."""
    frame = FRAME.assign(
        n=np.arange(400),
        big=2**30 + np.arange(400),
        flag=FRAME["a"] > 0,
        text="x, y",
        label=np.arange(400) % 3,
        hollow=np.nan,
        one=1.0,
        late=np.where(np.arange(400) == 7, 2.0, 3.0),
    )
    frame.loc[[7, 300], "b"] = np.nan  # without row 7 the column ``late`` is constant
    return frame


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "parquet"])
@pytest.mark.parametrize("cache", [False, True])
def test_pieces_give_what_the_whole_gives(tmp_path, monkeypatch, ending, cache):
    frame = awkward()
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    whole = open_data(path, cache=False)
    frames = open_data(frame, cache=False)
    for split, values in whole.splits().items():
        np.testing.assert_allclose(values, frames.splits()[split], rtol=1e-14)
    assert whole.notes == frames.notes
    assert whole.columns == ("a", "b", "c", "n", "big", "flag")
    assert whole.train.dtype == np.float64
    assert any("late" in note for note in whole.notes)
    monkeypatch.setattr(delimited, "_BLOCK", 700)
    monkeypatch.setattr(parquet, "_rows_at_a_time", lambda schema: 37)
    same(open_data(path, cache=cache), whole)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_parts_of_a_folder_and_a_glob(tmp_path, small_pieces, ending):
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, columns in enumerate([["a", "b", "c"], ["c", "a", "b"], ["a", "b", "more", "c"]]):
        part = FRAME.assign(more=1.0)[100 * i : 100 * i + 100][columns]
        path = folder / f"part-{9 + i}.{ending}"
        part.to_csv(path, index=False) if ending == "csv" else part.to_parquet(path)
    for source in (folder, str(folder / f"part-*.{ending}")):
        np.testing.assert_array_equal(read_for(source, shape=(3,)), FRAME[:300])
    whole, few = open_data(folder), open_data(str(folder / f"part-?.{ending}"))
    for split, values in few.splits().items():  # more files move nothing
        np.testing.assert_array_equal(whole.splits()[split][: len(values)], values)
    assert whole.name == "parts"


def test_a_part_that_lacks_a_column_is_named(tmp_path):
    FRAME.to_csv(tmp_path / "a-1.csv", index=False)
    FRAME[["a", "c"]].to_csv(tmp_path / "a-2.csv", index=False)
    with pytest.raises(InputError, match=r"a-2\.csv lacks the column b that the other files have"):
        open_data(str(tmp_path / "a-*.csv"))
    assert len(open_data(str(tmp_path / "a-*.csv"), columns=["a", "c"])) == 800
    FRAME.assign(b="x").to_parquet(tmp_path / "b-2.parquet")
    FRAME.to_parquet(tmp_path / "b-1.parquet")
    with pytest.raises(InputError, match=r"'b' is not numeric in b-2\.parquet"):
        open_data(str(tmp_path / "b-*.parquet"))


def test_parts_without_a_header(tmp_path):
    for i in range(2):
        FRAME[i::2].to_csv(tmp_path / f"{i}.csv", index=False, header=False)
    read = read_for(str(tmp_path / "*.csv"), shape=(3,))
    np.testing.assert_array_equal(read, np.concatenate([FRAME[0::2], FRAME[1::2]]))
    assert "have no header" in open_data(str(tmp_path / "*.csv")).notes[0]
    (tmp_path / "2.csv").write_text("1,2\n")
    with pytest.raises(InputError, match=r"2\.csv has 2 columns, but the first file 3"):
        open_data(str(tmp_path / "*.csv"))


def test_csv_parts_called_after_splits(tmp_path):
    for i, name in enumerate(["train-1", "train-2", "val", "test"]):
        (FRAME[:50] + i).to_csv(tmp_path / f"{name}.csv", index=False)
    data = open_data(tmp_path)
    np.testing.assert_allclose(data.train, np.concatenate([FRAME[:50], FRAME[:50] + 1]))
    np.testing.assert_allclose(data.validation, FRAME[:50] + 2)
    np.testing.assert_allclose(data.test, FRAME[:50] + 3)


def broken_lines(tmp_path):
    lines = FRAME.to_csv(index=False).splitlines()
    lines[10] = "1,2"
    lines[200] = "1,2,3,4"
    lines[300] = "1,oops,3"
    lines.insert(50, "")
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path, FRAME.drop([9, 199, 299])


@pytest.mark.parametrize("cache", [False, True])
def test_lines_that_are_no_rows_are_skipped_and_named(tmp_path, small_pieces, cache):
    path, kept = broken_lines(tmp_path)
    data = open_data(path, fractions=(0, 0), cache=cache)
    np.testing.assert_array_equal(data.train, kept)
    assert data.notes == (
        "3 unreadable rows skipped: line 11 of rows.csv (2 cells for 3), line 202 of rows.csv "
        "(4 cells for 3), line 302 of rows.csv ('oops' in 'b').",
    )
    with pytest.raises(InputError, match=r"more than 2 unreadable rows: .*max_unreadable"):
        open_data(path, max_unreadable=2, columns=["a", "b"], cache=cache)


def test_a_model_must_have_every_row(tmp_path):
    path, _ = broken_lines(tmp_path)
    with pytest.raises(InputError, match=r"more than 0 unreadable rows: line 11 of rows\.csv"):
        read_for(path, shape=(3,))
    kept = read_for(path, shape=(3,), columns=["a", "b", "c"], split="train", fractions=(0, 0))
    assert len(kept) == 397


def test_much_text_makes_a_column_text(tmp_path, small_pieces):
    frame = FRAME.astype({"b": object})
    frame.loc[:3, "b"] = "oops"  # 4 of 400: 1 %
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert open_data(tmp_path / "a.csv").columns == ("a", "b", "c")
    assert open_data(tmp_path / "a.csv", max_unreadable=3).columns == ("a", "c")
    frame.loc[4, "b"] = "oops"
    frame.to_csv(tmp_path / "a.csv", index=False)
    data = open_data(tmp_path / "a.csv")
    assert (data.columns, len(data)) == (("a", "c"), 400)
    assert "b (row 0: 'oops')" in data.notes[0]


def test_quoted_cells_may_hold_separators_and_line_ends(tmp_path, small_pieces):
    frame = FRAME.assign(text=["a,b", 'say "x"', "two\nlines", "plain"] * 100)
    frame.to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_array_equal(read_for(tmp_path / "a.csv", shape=(3,)), FRAME)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    lines.insert(7, "1,2")  # line 8
    (tmp_path / "a.csv").write_text("\n".join(lines))
    (note,) = [note for note in open_data(tmp_path / "a.csv").notes if "unreadable" in note]
    assert note == "1 unreadable row skipped: line 8 of a.csv (2 cells for 4)."


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("ending", ["csv.gz", "parquet"])
def test_a_broken_part_among_several_is_skipped_and_named(tmp_path, small_pieces, ending, cache):
    for i in range(3):
        part = FRAME[100 * i : 100 * i + 100]
        path = tmp_path / f"p{i}.{ending}"
        if ending == "parquet":
            part.to_parquet(path)
        else:
            path.write_bytes(gzip.compress(part.to_csv(index=False).encode()))
    for number in (0, 1, 2):
        path = tmp_path / f"p{number}.{ending}"
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        source = str(tmp_path / f"p*.{ending}")
        data = open_data(source, fractions=(0, 0), cache=cache)
        rest = FRAME[:300].drop(range(100 * number, 100 * number + 100))
        np.testing.assert_array_equal(data.train, rest)
        kind = "Parquet" if ending == "parquet" else "CSV"
        said = f"1 unreadable item skipped: p{number}.{ending} (cannot be read as {kind})."
        assert data.notes == (said,)
        with pytest.raises(InputError, match=rf"more than 0 unreadable items: p{number}\."):
            read_for(source, shape=(3,))
        path.write_bytes(kept)
    for i in range(3):
        path = tmp_path / f"p{i}.{ending}"
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"cannot read .*p2"):
        open_data(source)


@pytest.mark.parametrize("cache", [False, True])
def test_infinite_values_are_found_before_anything_is_kept(tmp_path, small_pieces, cache):
    frame = FRAME.copy()
    frame.loc[3, "a"] = np.nan
    frame.loc[250, "b"] = np.inf
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=r"an infinite value at row 250 .*column 'b', 1 in all"):
        open_data(tmp_path / "a.csv", cache=cache)
    assert not list(tmp_path.glob("cache/*/*.bin"))


@pytest.mark.parametrize("cache", [False, True])
def test_levels_are_checked_in_pieces(tmp_path, small_pieces, cache):
    frame = pd.DataFrame({"a": np.arange(400) % 9, "b": np.arange(400) % 7})
    frame.to_csv(tmp_path / "a.csv", index=False)
    data = open_data(tmp_path / "a.csv", levels=9, cache=cache)
    assert (data.levels, data.train.dtype, data.notes) == (9, np.float32, ())
    with pytest.raises(InputError, match="values from 0 to 8"):
        open_data(tmp_path / "a.csv", levels=8, cache=cache)


def test_hash_splits_do_not_depend_on_the_format(tmp_path):
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.to_parquet(tmp_path / "a.parquet")
    one, two = open_data(tmp_path / "a.csv"), open_data(tmp_path / "a.parquet")
    for split, values in one.splits().items():
        np.testing.assert_array_equal(values, two.splits()[split])
        np.testing.assert_array_equal(values, open_data(FRAME.to_numpy()).splits()[split])


@pytest.mark.parametrize("cache", [False, True])
def test_a_part_without_a_complete_row_is_an_error(tmp_path, cache):
    FRAME.to_csv(tmp_path / "train.csv", index=False)
    FRAME.assign(b=np.nan).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(InputError, match="its test part has zero rows"):
        open_data(tmp_path, cache=cache)


def test_what_a_column_is_does_not_depend_on_the_pieces(tmp_path, monkeypatch):
    halves = {
        "truth_then_number": [True] * 200 + [1.5] * 200,
        "truth_then_nothing": [True, False] * 100 + [None] * 200,
        "number_then_nothing": [*range(200), *[None] * 200],
        "number_then_text": [1.5] * 200 + ["x"] * 200,
        "text_then_nothing": ["x"] * 200 + [None] * 200,
        "label": [1] * 100 + [2] * 299 + [0.5],  # a number after all
    }
    frame = FRAME.astype(object).assign(**halves)
    frame.to_csv(tmp_path / "a.csv", index=False)
    whole = open_data(tmp_path / "a.csv")
    numbers = ("a", "b", "c", "truth_then_nothing", "number_then_nothing", "label")
    assert (whole.columns, len(whole)) == (numbers, 200)
    assert whole.labels is None
    monkeypatch.setattr(delimited, "_BLOCK", 700)
    same(open_data(tmp_path / "a.csv"), whole)


def test_a_quote_without_its_pair_costs_one_line(tmp_path, small_pieces):
    """Cells over several lines stay whole, and the rows below a stray quote are not swallowed."""
    lines = [f'{i},"note {i}, first\nsecond ""line""",{i * i}' for i in range(300)]
    for i in (20, 150, 298):
        lines[i] = f'{i},"note {i},{i * i}'
    (tmp_path / "t.csv").write_text("a,note,b\n" + "\n".join(lines) + "\n")
    expected = np.array([[i, i * i] for i in range(300) if i not in (20, 150, 298)])
    data = open_data(tmp_path / "t.csv", fractions=(0, 0))
    np.testing.assert_array_equal(data.train, expected)
    assert data.notes[0] == (
        "3 unreadable rows skipped: line 42 of t.csv (a quote without its pair), line 301 of t.csv "
        "(a quote without its pair), line 596 of t.csv (a quote without its pair)."
    )


def test_a_quote_that_ends_in_another_row_is_none(tmp_path):
    """The two stray quotes make a cell of several lines that would have the right place."""
    rows = [f"{i},{i * i}" for i in range(100)]
    rows[10], rows[60] = '"10,100', '"60,3600'
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(rows))
    data = open_data(tmp_path / "t.csv", fractions=(0, 0))
    assert len(data.train) == 98
    assert data.notes[0].startswith("2 unreadable rows skipped: line 12 of t.csv (")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_of_some_parts_only_are_noted(tmp_path, ending):
    for i, frame in enumerate([FRAME, FRAME.assign(d=1.5, e="text")]):
        path = tmp_path / f"{i}.{ending}"
        frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    data = open_data(tmp_path)
    assert data.columns == ("a", "b", "c")
    assert data.notes == ("Columns that the first file lacks were left out: d, e.",)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_link_to_nothing_is_an_unreadable_part(tmp_path, ending):
    FRAME.to_csv(tmp_path / "0.csv", index=False)
    FRAME.to_parquet(tmp_path / "0.parquet")
    (tmp_path / f"1.{ending}").symlink_to("nothing")
    data = open_data(str(tmp_path / f"*.{ending}")) if ending == "csv" else open_data(tmp_path)
    assert len(data) == 400
    assert any(f"skipped: 1.{ending} (" in note for note in data.notes)
