"""The record of a run, as it lies in metrics.jsonl and as it is drawn."""

import json
import math

import pytest
from PIL import Image

from pushforward.training.history import Run, best_of, loss_window, read_metrics


def records(*losses, every=10):
    return [
        {"step": every * (i + 1), "train": loss + 0.1, "validation": loss}
        for i, loss in enumerate(losses)
    ]


def test_what_is_saved_is_read(tmp_path):
    run = Run("nats", records(3.0, 2.0, 2.5))
    run.save(tmp_path / "metrics.jsonl")
    assert read_metrics(tmp_path / "metrics.jsonl") == run.records
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_a_file_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = "".join(json.dumps(record) + "\n" for record in records(3.0, 2.0))
    for length in range(len(whole)):
        path.write_text(whole[:length])
        assert read_metrics(path) == records(3.0, 2.0)[: len(read_metrics(path))]
    path.write_text('7\n{"step": true}\n{"step": 5}\n[]\n' + whole)
    assert read_metrics(path) == records(3.0, 2.0)


def test_a_run_that_went_back_counts_as_it_was_last(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [*records(3.0, 2.0, 1.0), {"step": 20, "validation": 2.5}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [r["validation"] for r in read_metrics(path)] == [3.0, 2.5]


def test_the_best_is_finite():
    assert best_of(records(3.0, 2.0, 2.5))["validation"] == 2.0
    assert best_of(records(math.nan, 2.0, -math.inf))["validation"] == 2.0
    assert best_of([]) == best_of(records(math.nan)) == {}


def test_the_heights_of_the_start_do_not_flatten_the_rest():
    low, high = loss_window(records(1e6, *[2.0 - 0.01 * i for i in range(30)]))
    assert low < 1.71
    assert 2.0 < high < 3.0
    assert loss_window([]) is None
    assert loss_window([{"step": 1, "validation": math.nan}]) is None
    low, high = loss_window([{"step": 1, "validation": 0.0}])
    assert low < 0 < high


@pytest.mark.parametrize("losses", [(), (2.0,), (3.0, math.nan, 2.0), (1e9, 2.0, 2.0)])
def test_any_history_is_drawn(losses, tmp_path):
    found = records(*losses)
    axes = Run("bits/dim", found, best_of(found)).plot(tmp_path / "curves.png")
    assert axes.get_ylabel() == "negative log-likelihood (bits/dim)"
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 300
