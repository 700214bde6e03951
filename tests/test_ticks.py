"""Names of categories and dates along the axes of a picture."""

import pytest
from matplotlib.figure import Figure

from pushforward.data.schema import Column
from pushforward.ticks import mark, plain


def labels(column, low, high):
    axes = Figure().add_subplot()
    axes.set_xlim(low, high)
    mark(axes.xaxis, column)
    axes.figure.canvas.draw()
    assert axes.get_xlim() == (low, high)
    return dict(zip(axes.get_xticks(), (t.get_text() for t in axes.get_xticklabels()), strict=True))


@pytest.mark.parametrize("words", [("Oslo", "Rome", "$x$"), ("no", "yes")])
def test_categories_go_by_their_names(words):
    column = Column(name="c", kind="category", step=1.0, categories=words)
    assert labels(column, -0.1, 2.1) == {i: plain(word) for i, word in enumerate(words)}


def test_truth_values_have_words_too():
    column = Column(name="c", kind="boolean", dtype="bool", step=1.0)
    assert labels(column, -0.1, 1.1) == {0: "false", 1: "true"}


def test_of_many_categories_some_are_named():
    words = tuple(f"w{i}" for i in range(100))
    found = labels(Column(name="c", kind="category", step=1.0, categories=words), -1, 100)
    assert 2 <= len(found) <= 6
    assert all(text == f"w{place}" for place, text in found.items())


def test_days_are_those_of_the_calendar():
    found = labels(Column(name="d", kind="date", dtype="date", step=1.0), 0, 730)
    assert found[0] == "1970-01-01"
    assert all(text.startswith(("1970-", "1971-")) for text in list(found.values())[:2])


def test_numbers_stay_numbers():
    assert "2.0" in labels(Column(name="x", kind="integer", step=1.0), 0, 4).values()
