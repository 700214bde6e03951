"""The report of a run can be drawn at any time."""

import shutil
from html.parser import HTMLParser
from pathlib import Path

from commands import fails, succeeds
from PIL import Image

from pushforward import load


class Page(HTMLParser):
    """Collects what a page says and what it asks the browser to fetch."""

    def __init__(self, text):
        super().__init__()
        self.said, self.fetched, self.open, self.alts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.fetched += [attributes[key] for key in ("src", "href") if key in attributes]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        assert tag != "script"
        if tag == "img":
            self.alts.append(attributes["alt"])

    def handle_startendtag(self, tag, attributes):
        pass  # closed at once

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def page(folder):
    found = Page(Path(folder, "report.html").read_text())
    assert found.open == []
    assert all(source.startswith("data:image/png;base64,") for source in found.fetched)
    return found


def test_a_report_can_be_drawn_anew(here, digits_model):
    shutil.copytree(digits_model, "run")
    for name in ("report.html", "curves.png", "samples.png"):
        Path("run", name).unlink()
    assert succeeds("report", "run") == "report written to run/report.html\n"
    for name in ("curves.png", "samples.png"):
        with Image.open(Path("run", name)) as picture:
            assert picture.width > 300
    assert Path("run/samples.png").read_bytes() == (digits_model / "samples.png").read_bytes()
    said = " ".join(page("run").said)
    metrics = load("run").facts["metrics"]
    for part in ("realnvp on digits", f"{metrics['test']:.3f}", "bits/dim, test loss", "Steps"):
        assert part in said
    assert "pushforward train --out run --resume" in said


def test_a_run_that_goes_on_has_a_report_too(here, table_model):
    shutil.copytree(table_model, "run")
    shutil.rmtree("run/best")
    Path("run/samples.png").unlink()
    succeeds("report", "run")
    said = " ".join(page("run").said)
    assert "Not ended yet, or cut short." in said
    assert "Samples" not in said
    Path("run/metrics.jsonl").write_text("")
    succeeds("report", "run")
    assert "Nothing has been measured yet." in " ".join(page("run").said)


def test_rows_are_drawn_over_the_data_if_these_are_there(here, table_model, table_file):
    shutil.copytree(table_model, "run")
    succeeds("report", "run")
    assert Path("run/samples.png").read_bytes() == (table_model / "samples.png").read_bytes()
    settings = Path("run/config.yaml").read_text().replace(str(table_file), "gone.csv")
    Path("run/config.yaml").write_text(settings)
    succeeds("report", "run")
    assert Path("run/samples.png").read_bytes() != (table_model / "samples.png").read_bytes()


def test_mistakes(here, conditional_model):
    assert fails("report", "nothing") == "there is no run at nothing: no such folder."
    assert "is not the folder of a run" in fails("report", conditional_model)
