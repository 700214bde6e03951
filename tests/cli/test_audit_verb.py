import json

import numpy as np
import pandas as pd
import pytest
from commands import fails, succeeds


@pytest.fixture
def tables(here):
    """Two months of people; in the second one they are older."""
    rng = np.random.default_rng(0)
    for name, shift in (("may", 0.0), ("june", 8.0)):
        pd.DataFrame({
            "age": rng.normal(40 + shift, 10, 200).round(3),
            "income, $^": rng.normal(4e4, 1e4, 200).round(2),
            "[red]height": rng.gamma(2.0, size=200),
            "sex": rng.choice(["f", "m"], 200, p=[0.2, 0.8]),
        }).to_csv(f"{name}.csv", index=False)  # fmt: skip
    return here


def numbers_model(folder):
    """A flow of two columns by their names, no training."""
    import pushforward as pf

    frame = pd.read_csv("may.csv")[["age", "[red]height"]]
    flow = pf.RealNVP((2,), couplings=2, width=8)
    flow.initialise(flow.prepare(frame.to_numpy(), None, True)[0])
    flow.facts = {"data": {"columns": list(frame.columns)}}
    flow.save(folder)
    return folder


def test_groups_and_regions_are_printed(tables):
    model = numbers_model("model")
    text = succeeds("audit", model, "may.csv", "--by", "sex")
    assert text.startswith("may.csv: 200 events, 200 scored\n")
    for part in ("sex = f", "sex = m", "mean log p (95 %)", "not what is fair"):
        assert part in text
    assert sorted(p.name for p in tables.iterdir()) == ["june.csv", "may.csv", "model"]


def test_drift_a_page_and_json(tables):
    model = numbers_model("model")
    arguments = ("audit", model, "may.csv", "--against", "june.csv")
    text = succeeds(*arguments, "--html", "audit.html", "--json", "audit.json")
    assert "The two sets differ" in text
    assert "by classifier" in text
    assert "page written to audit.html" in text
    page = (tables / "audit.html").read_text()
    assert "pushforward audit model may.csv --against june.csv --html audit.html" in page
    content = json.loads((tables / "audit.json").read_text())
    assert content["drift"]["columns"][0]["name"] == "age"
    printed = json.loads(succeeds(*arguments, "--json", "-"))
    assert printed["drift"]["p_value"] == content["drift"]["p_value"]


def test_without_a_model_one_is_learned(tables, monkeypatch):
    from pushforward.models import load

    numbers_model("model")
    monkeypatch.setattr("pushforward.jobs.learning.learn", lambda frame, **_: load("model"))
    text = succeeds("audit", "may.csv")
    assert "200 events, 100 scored" in text
    assert "learned for this audit" in text.replace("\n", " ")


@pytest.mark.slow
def test_learning_for_an_audit(tables):
    assert "100 scored" in succeeds("audit", "may.csv", "--by", "sex")


def test_mistakes_are_told_in_one_line(tables, digits_model):
    model = numbers_model("model")
    assert "no column 'hight'" in fails("audit", model, "may.csv", "--by", "hight")
    assert "--against june.csv" in fails("audit", model, "may.csv", "june.csv")
    assert "ends in .html" in fails("audit", model, "may.csv", "--html", "audit.png")
    assert "nowhere.csv" in fails("audit", model, "nowhere.csv")
    assert "nowhere" in fails("audit", "nowhere", "may.csv")
    pd.read_csv("may.csv").drop(columns="age").to_csv("less.csv", index=False)
    assert "'age'" in fails("audit", model, "less.csv")
    (tables / "empty.csv").write_text("")
    assert "empty" in fails("audit", model, "empty.csv")
    (tables / "header.csv").write_text("age,[red]height\n")
    assert "no rows" in fails("audit", model, "header.csv")
    assert "fractions" in fails("audit", digits_model, "may.csv")


def test_images_are_grouped_by_label(here, digits_model):
    text = succeeds("audit", digits_model, "digits")
    assert "label = 7" in text
    assert "brightness" in text
