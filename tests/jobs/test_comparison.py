"""Models side by side: what is measured, and how it is ordered and shown."""

import json
import math

import numpy as np
import pytest
import torch

from pushforward import InputError, RealNVP, evaluate, fit, load, open_data
from pushforward.distances import sliced_wasserstein
from pushforward.jobs.comparing import compare_runs
from pushforward.jobs.comparison import Comparison, Entry
from pushforward.jobs.comparison_page import NAMES, write_comparison
from pushforward.jobs.measuring import SampleRuler


@pytest.fixture(scope="module")
def rows():
    values = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    values[:, 1] += 3 * values[:, 0] ** 2
    return open_data(values, fractions=(0.2, 0.3))


@pytest.fixture(scope="module")
def runs(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, steps in (("poor", 1), ("good", 150)):
        flow = RealNVP((2,), couplings=2, width=8, seed=3)
        fit(flow, rows, max_steps=steps, progress=False, folder=folder / name, lr=0.02)
    return {name: folder / name for name in ("poor", "good")}


def entry(name, **options):
    return Entry(name=name, folder=None, **options)


def test_measures_are_those_of_the_saved_models_and_the_best_comes_first(runs, rows):
    comparison = compare_runs(runs, rows)
    assert comparison.split == "test"
    assert comparison.events == len(rows.test)
    assert [e.name for e in comparison.entries] == ["good", "poor"]
    for found in comparison.entries:
        flow = load(runs[found.name])
        expected = evaluate(flow, rows.test)
        assert found.loss == pytest.approx(expected.loss, abs=1e-6)
        assert found.density == "exact"
        assert found.parameters == sum(p.numel() for p in flow.parameters())
        assert found.samples.shape == (2000, 2)
        samples = flow.sample(2000, seed=0)[: len(rows.test)]
        spread = torch.from_numpy(rows.test.std(0))
        apart = sliced_wasserstein(samples / spread, torch.from_numpy(rows.test) / spread)
        assert found.distance == pytest.approx(apart, rel=1e-5)
        assert found.samples_per_second > 0
        assert found.scores_per_second > 0


@pytest.mark.parametrize("levels", [None, 256])
def test_a_distance_does_not_depend_on_units_and_knows_its_own_floor(levels):
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 1e3, 1e-4]) if levels is None else 1.0
    middle = 1e6 if levels is None else 100

    def draw(n, shift=0.0):
        values = middle + scale * (10 * rng.normal(size=(n, 3)) + shift)
        return values if levels is None else values.round().astype(np.int64)

    ruler = SampleRuler(draw(1000), levels)
    own = [ruler(torch.as_tensor(draw(1000))) for _ in range(10)]
    assert np.mean(own) == pytest.approx(ruler.floor, rel=0.35)
    # Moved by d in every number, it is d, of standard deviations (here 10) or of the range.
    moved = ruler(torch.as_tensor(draw(1000, shift=30.0)))
    assert moved == pytest.approx(3 if levels is None else 30 / 255, rel=0.1)
    if levels is None:
        assert ruler(torch.full((1000, 3), torch.inf)) == math.inf


def test_the_page_holds_everything_and_nothing_from_elsewhere(runs, rows, tmp_path):
    comparison = compare_runs(runs, rows, failed={"poor": "failed: no <luck>"})
    paths = write_comparison(tmp_path, comparison, rows, "pushforward compare x --out 'y z'")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    page = paths["compare.html"].read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert "no &lt;luck&gt;" in page
    assert "http" not in page
    content = json.loads(paths["compare.json"].read_text(encoding="utf-8"))
    assert [m["name"] for m in content["models"]] == ["good", "poor"]
    assert content["models"][0]["loss"] == comparison.entries[0].loss
    assert "| good |" in paths["compare.md"].read_text(encoding="utf-8")


def test_one_column_and_few_images_can_be_drawn(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 2, 4, 4), dtype=np.uint8)
    for values, levels in ((np.linspace(-1, 1, 60)[:, None], None), (images, 256)):
        data = open_data(values)
        shape = data.shape
        place = tmp_path / str(len(shape))
        flow = RealNVP(shape, levels=levels, couplings=1, width=2)
        flow.initialise(data.train)
        flow.save(place / "a")
        comparison = compare_runs({"a": place / "a"}, data)
        write_comparison(place, comparison, data, "command")
        assert (place / "samples.png").stat().st_size > 1000


def test_losses_in_another_unit_and_failures_stand_below():
    comparison = Comparison(
        data="d",
        shape=(2,),
        levels=None,
        split="test",
        events=3,
        threads=1,
        entries=(
            entry("a", density="exact", loss=-1.5, error=0.01, unit="nats", parameters=1000),
            entry(
                "b",
                distance=0.1234,
                density="none",
                memory=2**21,
                seconds=130.0,
                samples_per_second=3.2,
            ),
            entry("c", failed="failed: why"),
        ),
    )
    first, second, third = comparison.rows()
    assert first[:5] == ("a", "-1.500 ± 0.01", "exact", "-", "1,000")
    assert second == ("b", "-", "none", "0.123", "-", "2.2 min", "3.2", "-", "2")
    assert third[2] == "failed"
    assert "c failed: why." in comparison.sentences
    assert any("no likelihood" in said for said in comparison.sentences)


def test_refusals(runs, rows, tmp_path):
    with pytest.raises(InputError, match="no models to compare"):
        compare_runs({}, rows)
    flow = RealNVP((3,), couplings=1, width=4)
    flow.save(tmp_path / "other")
    with pytest.raises(InputError, match=r"shape \(3,\).*same data"):
        compare_runs({"other": tmp_path / "other"}, rows)
    with pytest.raises(InputError, match="no such directory"):
        compare_runs({"none": tmp_path / "none"}, rows)
