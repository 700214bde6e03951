import json
from pathlib import Path

import pytest
from commands import fails, invoke, succeeds

from pushforward import RealNVP
from pushforward.cli.layers import layer_tree
from pushforward.layers import ActNorm


def test_verify_without_data(here, moons_model):
    text = succeeds("verify", moons_model, "--json", "v.json")
    assert "checks passed" in text
    assert "of 24,000 given" in text  # the built-in set that it learned
    assert max(map(len, text.splitlines())) <= 80
    told = json.loads(Path("v.json").read_text())
    assert told["ok"]
    assert told["data"] == "two-moons"
    assert told["checks"]


def test_verify_on_data_and_on_samples(here, table_model, table_file):
    text = succeeds("verify", table_model, table_file, "--all-layers")
    assert "Every layer" in text
    told = json.loads(succeeds("verify", table_model, "--json", "-"))
    assert told["data"] is None
    assert told["source"] == "samples of the flow"


def test_verify_exits_with_1_if_a_check_fails(moons_model, monkeypatch):
    right = ActNorm.forward

    def wrong(self, x, context=None):
        z, log_det = right(self, x, context)
        return z, log_det + 1

    monkeypatch.setattr(ActNorm, "forward", wrong)
    result = invoke("verify", moons_model)
    assert result.exit_code == 1
    assert result.stderr == ""
    assert "ActNorm" in result.stdout
    result = invoke("verify", moons_model, "--json", "-")
    assert result.exit_code == 1
    assert not json.loads(result.stdout)["ok"]


def test_mistakes_of_verify(moons_model, photos, conditional_model):
    assert "the model takes rows of 2 numbers" in fails("verify", moons_model, photos)
    assert "conditional" in fails("verify", conditional_model)
    assert fails("verify", "none") == "there is no model at none: no such directory."


# info ------------------------------------------------------------------------------------------


def test_info_of_images(digits_model):
    text = succeeds("info", digits_model)
    for part in ("images (1, 8, 8)", "integers 0 to 16", "parameters", "bits/dim", "Multiscale"):
        assert part in text
    rows = [line for line in text.splitlines() if str(digits_model) not in line]
    assert max(map(len, rows)) <= 80


def test_info_of_rows(table_model):
    text = succeeds("info", table_model)
    assert "rows of 3 numbers" in text
    assert "age, income, $^, [red]height" in text
    assert "Columns with one and the same value were left out: city." in text


def test_info_as_json(digits_model):
    told = json.loads(succeeds("info", digits_model, "--json"))
    assert told["shape"] == [1, 8, 8]
    assert told["format"] == 1
    assert told["facts"]["data"]["name"] == "digits"
    assert told["config"]["couplings"] == 2
    assert told["layers"][0] == "Dequantize"


def test_info_of_a_conditional_model_and_of_one_without_facts(conditional_model, here):
    assert "3 numbers per event" in succeeds("info", conditional_model)
    RealNVP((1, 2, 2), couplings=1, width=4).save("model")
    assert "layers, from data to latent" in succeeds("info", "model")


def test_mistakes_of_info(here, photos):
    assert "is not a saved model" in fails("info", photos)


def test_the_tree_counts_repetitions():
    flow = RealNVP((4,), couplings=6, mixing="permutation", width=4)
    assert layer_tree(flow) == [
        "Standardize",
        "3 x",
        "  ActNorm",
        "  Permutation",
        "  Coupling (Affine; MLP of 52 parameters)",
        "  ActNorm",
        "  Coupling (Affine; MLP of 52 parameters)",
        "StandardNormal base",
    ]


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_the_tree_is_short_however_deep_the_flow(scales):
    lines = layer_tree(RealNVP((3, 16, 16), scales=scales, couplings=30, width=4))
    assert len(lines) <= 5 + 7 * scales
    assert max(map(len, lines)) <= 78
