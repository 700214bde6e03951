import datetime
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pushforward.data import describe, open_data, read_for
from pushforward.data.detect import column_of, detect
from pushforward.data.encoding import days_of
from pushforward.data.schema import Column, Schema
from pushforward.data.sketch import Sketch
from pushforward.errors import InputError

N = 400


@pytest.fixture(scope="module")
def mixed():
    """One column of every kind, with and without missing cells."""
    rng = np.random.default_rng(0)
    starts = pd.Timestamp("2023-05-01")
    lacking = np.arange(N) % 7 == 0
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, N),
            "kids": pd.array(np.where(lacking, None, rng.integers(0, 4, N)), dtype="Int64"),
            "price": np.round(rng.lognormal(2, 0.5, N), 2),
            "grade": rng.choice([1.0, 1.3, 1.7, 2.0], N),
            "x": rng.normal(size=N),
            "tail": rng.standard_t(1.5, N),
            "share": rng.uniform(size=N),
            "city": rng.choice(["Bonn", "Oslo", "01"], N, p=[0.6, 0.3, 0.1]),
            "smoker": rng.choice(["Yes", "No"], N),
            "ok": rng.random(N) < 0.3,
            "maybe": pd.array(np.where(lacking, None, rng.random(N) < 0.5), dtype="boolean"),
            "day": starts + pd.to_timedelta(rng.integers(0, 300, N), unit="D"),
            "second": (starts + pd.to_timedelta(rng.integers(0, 10**6, N), unit="s")).tz_localize(
                "Europe/Berlin"
            ),
            "size": pd.Categorical(
                rng.choice(["S", "M", "L"], N), categories=["S", "M", "L"], ordered=True
            ),
            "colour": np.where(lacking, None, rng.choice(["red", "blue"], N)),
        }
    )


KINDS = {
    "age": "integer",
    "kids": "integer",
    "price": "number",
    "grade": "number",
    "x": "number",
    "tail": "number",
    "share": "number",
    "city": "category",
    "smoker": "boolean",
    "ok": "boolean",
    "maybe": "boolean",
    "day": "date",
    "second": "date",
    "size": "category",
    "colour": "category",
}


def same(one, two):
    """Whether two columns hold the same cells, in whatever types."""
    both = [s.astype(object).where(s.notna(), None).tolist() for s in (one, two)]
    return both[0] == both[1]


def test_kinds_are_found(mixed):
    schema = detect(mixed)
    assert {column.name: column.kind for column in schema.columns} == KINDS
    assert schema["grade"].step == 0.1
    assert schema["price"].step is None
    assert schema["price"].decimals == 2
    assert (schema["day"].step, schema["second"].step) == (1.0, 1 / 86400)
    assert [c.name for c in schema.columns if c.heavy] == ["tail"]
    assert [c.name for c in schema.columns if c.low is not None] == ["share"]
    assert schema["city"].categories == ("Bonn", "Oslo", "01")  # the frequent ones first
    assert schema["size"].categories == ("S", "M", "L")
    assert schema["smoker"].categories == ("No", "Yes")
    assert schema["kids"].missing == schema["colour"].missing == mixed["kids"].isna().sum()


def test_decoding_gives_back_cells_types_and_names(mixed):
    schema = detect(mixed)
    values = schema.encode(mixed)
    assert values.dtype == np.float64
    assert np.isnan(values).sum() == mixed.isna().sum().sum()
    back = schema.decode(values)
    assert list(back) == list(mixed)
    for name in mixed:
        assert same(back[name], mixed[name]), name
        assert back[name].dtype == mixed[name].dtype or name == "colour"


def test_codes_are_what_pandas_says(mixed):
    values = pd.DataFrame(detect(mixed).encode(mixed), columns=list(mixed))
    assert (values["size"] == mixed["size"].cat.codes).all()
    days = mixed["day"].astype("int64") / (24 * 3600 * 10**6)  # microseconds
    assert np.allclose(values["day"], days, rtol=0, atol=1e-12)
    utc = mixed["second"].dt.tz_convert("UTC")
    assert np.allclose(
        values["second"], (utc - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1)
    )


def test_json_keeps_everything(mixed):
    schema = detect(mixed)
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    for broken in ([{"name": "a"}], [{"name": "a", "kind": "colour"}], 3, [{"what": 1}]):
        with pytest.raises(InputError, match="were altered"):
            Schema.from_json(broken)


def test_columns_are_found_by_name_in_any_order(mixed):
    schema = detect(mixed)
    turned = mixed[list(mixed)[::-1]].assign(more=1)
    assert np.array_equal(schema.encode(turned), schema.encode(mixed), equal_nan=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"city": "Rome"}, "holds 'Rome' .row 0., which is none of the 3 that the model knows"),
        ({"age": "old"}, "column 'age' holds 'old' .row 0., where a number should be"),
        ({"day": "soon"}, "column 'day' holds 'soon' .row 0., where a date should be"),
        ({"ok": "perhaps"}, "holds 'perhaps' .row 0., where a truth value should be"),
        ({"x": np.inf}, "column 'x' is infinite in row 0"),
    ],
)
def test_cells_of_another_kind_are_refused(mixed, change, said):
    with pytest.raises(InputError, match=said):
        detect(mixed).encode(mixed.assign(**change))


def test_absent_columns_are_named(mixed):
    with pytest.raises(InputError, match=r"no column 'city'; it has .*Did you mean 'City'"):
        detect(mixed).encode(mixed.rename(columns={"city": "City"}))


def test_samples_are_brought_to_what_a_column_can_hold():
    schema = Schema(
        (
            Column(name="n", kind="integer", dtype="uint8", step=1.0, least=2.0, most=9.0),
            Column(name="c", kind="category", dtype="str", step=1.0, categories=("a", "b")),
            Column(name="p", kind="number", decimals=2),
            Column(name="d", kind="date", dtype="date", step=1.0),
        )
    )
    values = [[300.4, 7.0, 1.23456, 0.2], [-3.0, -2.0, 19.99, 1.0]]
    frame = schema.decode(values)
    assert frame["n"].tolist() == [255, 0]
    assert frame["c"].tolist() == ["b", "a"]
    assert frame["p"].tolist() == [1.23, 19.99]
    assert frame["d"].tolist() == [datetime.date(1970, 1, 1), datetime.date(1970, 1, 2)]
    assert schema.decode(values, clip=True)["n"].tolist() == [9, 2]
    lacking = schema.decode(np.full((1, 4), np.nan))
    assert lacking.isna().all().all()
    assert str(lacking["n"].dtype) == "UInt8"
    with pytest.raises(InputError, match=r"4 columns; got numbers of shape \(2, 3\)"):
        schema.decode(np.zeros((2, 3)))


def test_what_the_user_says_of_a_column(mixed):
    said = {"age": "category", "grade": "category", "ok": "number", "kids": "category"}
    schema = detect(mixed, said)
    assert [schema[name].kind for name in said] == list(said.values())
    back = schema.decode(schema.encode(mixed))
    assert all(same(back[name], mixed[name]) for name in ("age", "grade", "kids"))
    assert schema["grade"].categories == ("1", "1.3", "1.7", "2")
    assert schema["ok"].step is None


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"city": "number"}, "'city' is to be a number, but it holds cells that are none"),
        ({"x": "integer"}, "'x' is to be an integer, but it holds fractions"),
        ({"age": "boolean"}, "'age' is to be a boolean, but it holds more than two values"),
        ({"city": "date"}, "'city' is to be a date, but"),
        ({"age": "colour"}, "is one of number, integer, category, boolean, date; got 'colour'"),
    ],
)
def test_wishes_that_cells_contradict(mixed, kinds, said):
    with pytest.raises(InputError, match=said):
        detect(mixed, kinds)


def test_text_that_names_rows_is_left_out(mixed):
    names = [f"person {i}" for i in range(N)]
    dataset = open_data(mixed.assign(name=names), schema="auto")
    assert "name" not in dataset.columns
    assert f"name (text with {N} different values in {N} rows)" in dataset.notes[0]
    many = pd.DataFrame({"x": np.arange(3000.0), "who": [f"p{i % 1400}" for i in range(3000)]})
    assert "more than 1,000 different values" in open_data(many, schema="auto").notes[0]
    with pytest.raises(InputError, match="that no model can learn: name"):
        open_data(mixed.assign(name=names), schema="auto", columns=["age", "name"])


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-02-29", "2023-01-01"],
        ["2024-02-29 10:30", "2023-01-01 00:00"],
        ["2024-02-29T10:30:15", "2023-01-01T00:00:01"],
        ["2024-02-29T10:30:15Z", "2023-01-01T00:00:01+02:00"],
    ],
)
def test_iso_dates_are_dates(texts):
    schema = detect(pd.DataFrame({"when": texts}))
    assert schema["when"].kind == "date"
    wanted = [pd.Timestamp(text) for text in texts]
    wanted = [t.tz_localize("UTC") if t.tz is None else t for t in wanted]
    days = [(t - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1) for t in wanted]
    assert np.allclose(schema.encode(pd.DataFrame({"when": texts}))[:, 0], days, atol=1e-9)


def test_what_only_looks_like_a_date_is_text():
    frame = pd.DataFrame({"a": ["2024-02-30", "2024-01-01"], "b": ["2024-13", "2024-14"]})
    assert [c.kind for c in detect(frame).columns] == ["category", "category"]
    assert np.isnan(days_of(frame["a"])[0])


def test_a_sketch_stays_small_and_spans_the_column():
    sketch = Sketch("x")
    for start in range(0, 1_000_000, 7919):
        part = np.arange(start, min(start + 7919, 1_000_000)) + 0.25
        sketch.add(pd.Series(part))
    kept = sketch.numbers
    assert 1 << 16 <= len(kept) <= 1 << 17
    assert len(set(np.diff(kept))) == 1  # every k-th, whatever the chunks
    column = column_of(sketch)
    assert (column.least, column.most, column.kind) == (0.25, 999_999.25, "number")


def suffixes():
    return ["csv", "parquet", "frame", "polars"]


def source(mixed, form, folder):
    if form == "csv":
        mixed.to_csv(folder / "mixed.csv", index=False)
        return folder / "mixed.csv"
    if form == "parquet":
        mixed.to_parquet(folder / "mixed.parquet")
        return folder / "mixed.parquet"
    return mixed if form == "frame" else pytest.importorskip("polars").from_pandas(mixed)


@pytest.mark.parametrize("form", suffixes())
def test_files_and_frames_read_alike(mixed, form, tmp_path):
    given = source(mixed, form, tmp_path)
    dataset = open_data(given, schema="auto", missing="keep")
    assert dataset.columns == tuple(KINDS)
    assert {c.name: c.kind for c in dataset.schema.columns} == KINDS
    read = read_for(
        given, shape=(15,), columns=dataset.columns, schema=dataset.schema, missing="keep"
    )
    back = dataset.schema.decode(read)
    for name in mixed:
        if form == "csv" and name == "second":  # text has an offset, but no zone
            assert (back[name] == mixed[name]).all()
        else:
            assert same(back[name], mixed[name]), name
    assert len(dataset) == N
    test = read_for(
        *(given,),
        shape=(15,),
        columns=dataset.columns,
        schema=dataset.schema,
        split="test",
        incomplete="keep",
    )
    assert np.array_equal(test, dataset.test, equal_nan=True)
    told = {column["name"]: column for column in describe(dataset)["columns"]}
    assert told["kids"]["missing"] == mixed["kids"].isna().sum()
    assert told["kids"]["mean"] == pytest.approx(mixed["kids"].astype(float).mean(), rel=1e-6)


def test_incomplete_rows_go_unless_they_are_kept(mixed):
    dropped = open_data(mixed, schema="auto")
    assert len(dropped) == mixed.notna().all(axis=1).sum()
    kept = open_data(mixed.reindex(range(N + 2)), schema="auto", missing="keep")
    assert len(kept) == N
    assert "2 rows without any value were dropped." in kept.notes


def test_columns_that_say_nothing_are_left_out(mixed):
    dataset = open_data(
        mixed.assign(one="same", none=np.nan, no=False), schema="auto", missing="keep"
    )
    assert dataset.columns == tuple(mixed)
    assert "Columns without any value were left out: none." in dataset.notes
    assert "Columns with one and the same value were left out: one, no." in dataset.notes


def test_columns_are_taken_by_name(mixed):
    dataset = open_data(mixed, schema="auto", columns=["city", "age"])
    assert dataset.schema.names == dataset.columns == ("city", "age")
    again = open_data(dataset, columns=["age"])
    assert again.schema.names == ("age",)


def test_labels_stay_aside_unless_they_are_text(mixed):
    frame = mixed[["age", "city"]]
    numbered = open_data(frame.assign(label=np.arange(N) % 3), schema="auto")
    assert numbered.columns == ("age", "city")
    assert set(np.unique(numbered.labels["train"])) == {0, 1, 2}
    named = open_data(frame.assign(label=mixed["size"].astype(str)), schema="auto")
    assert named.columns == ("age", "city", "label")
    assert named.labels is None


def test_digits_in_one_chunk_and_text_in_another_are_text(tmp_path, monkeypatch):
    monkeypatch.setattr("pushforward.data.delimited._BLOCK", 200)
    cells = ["01", "7"] * 50 + ["A1", "01"] * 50
    path = tmp_path / "codes.csv"
    path.write_text("x,code\n" + "".join(f"{i / 7},{c}\n" for i, c in enumerate(cells)))
    schema = open_data(path, schema="auto").schema
    assert set(schema["code"].categories) == {"01", "7", "A1"}
    read = read_for(path, shape=(2,), columns=("x", "code"), schema=schema)
    assert schema.decode(read)["code"].tolist() == cells


def test_whole_numbers_with_gaps_stay_whole(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("n,p\n" + "".join(f"{'' if i % 5 == 0 else i},{i}.0\n" for i in range(50)))
    schema = open_data(path, schema="auto", missing="keep").schema
    assert (schema["n"].dtype, schema["p"].dtype) == ("Int64", "float64")
    assert {column.kind for column in schema.columns} == {"integer"}


def test_the_cache_keeps_the_schema(mixed, tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    path = source(mixed, "parquet", tmp_path)
    first = open_data(path, schema="auto", missing="keep", cache=True)
    plain = open_data(path, cache=True)
    again = open_data(path, schema="auto", missing="keep", cache=True)
    assert isinstance(again.train, np.memmap)
    assert again.schema == first.schema == open_data(path, schema="auto", missing="keep").schema
    assert plain.schema is None
    test = read_for(
        *(path,),
        shape=(15,),
        columns=first.columns,
        schema=first.schema,
        split="test",
        incomplete="keep",
        cache=True,
    )
    assert np.array_equal(test, first.test, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(city="Rome"), r"'Rome' \(line 2 of new.csv\), which is none of the 3"),
        (lambda f: f.assign(age=["x"] + [1] * (N - 1)), r"'age' of new.csv holds text \(row 0: 'x"),
        (lambda f: f.drop(columns="age"), "new.csv has no column 'age'; it has kids"),
        (lambda f: f.assign(day="x"), r"'day' holds 'x' \(line 2 of new.csv\), where a date"),
        (lambda f: f[:0], "new.csv has zero rows"),
    ],
)
def test_files_that_do_not_fit_a_model(mixed, change, said, tmp_path):
    schema = detect(mixed)
    change(mixed).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(InputError, match=said):
        read_for(tmp_path / "new.csv", shape=(15,), columns=schema.names, schema=schema)


def test_a_thousand_columns(tmp_path):
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 1000)).round(2))
    wide[3] = ["a", "b"] * 10
    dataset = open_data(wide, schema="auto")
    assert dataset.shape == (1000,)
    assert dataset.schema["3"].kind == "category"


def test_without_a_schema_nothing_changes(mixed):
    dataset = open_data(mixed)
    assert dataset.schema is None
    assert "city" not in dataset.columns
    assert "Columns that are not numeric were left out" in dataset.notes[0]
    with pytest.raises(InputError, match="schema is auto, a Schema or None; got 'all'"):
        open_data(mixed, schema="all")
    with pytest.raises(InputError, match="missing is one of drop, keep; got 'fill'"):
        open_data(mixed, missing="fill")


def test_codes_keep_their_zeros(tmp_path):
    path = tmp_path / "zip.csv"
    cells = ["01067", "10115", "80331"] * 20
    path.write_text("x,zip\n" + "".join(f"{i / 7},{c}\n" for i, c in enumerate(cells)))
    schema = open_data(path, schema="auto").schema
    assert schema["zip"].categories == ("01067", "10115", "80331")
    read = read_for(path, shape=(2,), columns=("x", "zip"), schema=schema)
    assert schema.decode(read)["zip"].tolist() == cells


def test_numbers_called_categories_keep_their_text(tmp_path):
    path = tmp_path / "level.csv"
    path.write_text("x,level\n" + "".join(f"{i / 7},{i % 3}.0\n" for i in range(60)))
    schema = open_data(path, schema="auto", kinds={"level": "category"}).schema
    assert set(schema["level"].categories) == {"0.0", "1.0", "2.0"}
    read = read_for(path, shape=(2,), columns=("x", "level"), schema=schema)
    assert schema.decode(read)["level"].tolist() == [f"{i % 3}.0" for i in range(60)]


def test_categories_that_are_alike_are_neighbours():
    rng = np.random.default_rng(0)
    level = rng.choice(7, 2000, p=[0.3, 0.05, 0.2, 0.1, 0.05, 0.2, 0.1])
    place = np.array([3, 0, 6, 1, 5, 2, 4])  # of each level, by the numbers beside it
    size = place[level] + 0.3 * rng.normal(size=2000)
    frame = pd.DataFrame({"size": np.exp(size), "weight": size**3, "kind": level})
    frame["kind"] = "k" + frame["kind"].astype(str)
    found = open_data(frame, schema="auto").schema["kind"].categories
    wanted = tuple(f"k{i}" for i in np.argsort(place))
    assert found in (wanted, wanted[::-1])
    own = frame.assign(kind=frame["kind"].astype("category"))
    assert open_data(own, schema="auto").schema["kind"].categories == tuple(sorted(wanted))


def test_an_event_stays_in_its_split_when_the_table_grows(tmp_path, monkeypatch):
    """Although the order of the categories, and so their codes, follow from the whole table."""
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame({"c": rng.choice(list("abcdefgh"), n), "x": rng.normal(size=n)})
    few, many = open_data(frame[:200], schema="auto"), open_data(frame, schema="auto")
    assert few.schema["c"].categories != many.schema["c"].categories
    for split, values in few.splits().items():
        later = many.splits()[split][:, 1].tolist()
        assert len(values)
        assert set(values[:, 1].tolist()) <= set(later)
    # From the cache, and by a schema that is known, rows are divided alike.
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    frame.to_csv(tmp_path / "many.csv", index=False)
    known = many.schema.take(["c", "x"])
    known = Schema((replace(known["c"], categories=tuple("hgfedcba")), known["x"]))
    for other in (
        open_data(tmp_path / "many.csv", schema="auto", cache=True),
        open_data(frame, schema=known),
    ):
        for split, values in many.splits().items():
            assert np.allclose(other.splits()[split][:, 1], values[:, 1])


def test_a_header_alone_is_no_table(tmp_path):
    (tmp_path / "bare.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=r"^bare\.csv has zero rows\.$"):
        open_data(tmp_path / "bare.csv", schema="auto")


def test_one_value_far_from_all_others_makes_heavy_tails():
    rng = np.random.default_rng(0)
    plain = pd.DataFrame({"pay": np.exp(rng.normal(8, 0.5, 1000))})
    far = plain.copy()
    far.loc[7, "pay"] = 9e6
    assert not detect(plain).columns[0].heavy
    assert detect(far).columns[0].heavy
