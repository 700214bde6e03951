"""What the README and the guide print is what runs."""

import re
import shlex
from pathlib import Path

import pytest
import torch

README = Path(__file__).parents[1] / "README.md"
PAGES = sorted((README.parent / "docs").glob("*.md"))


def blocks(language, page=README):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


EXAMPLES = [
    pytest.param(code, id=f"{page.stem}-{index}")
    for page in (README, *PAGES)
    for index, code in enumerate(blocks("python", page))
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_python_examples_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state(), torch.get_default_dtype()
    try:  # in this process: imports take longer than most of the examples
        exec(compile(code, "example", "exec"), {"__name__": "__main__"})
    finally:
        torch.set_rng_state(before[0])
        torch.set_default_dtype(before[1])


def test_command_line_example_runs(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from pushforward.cli import app

    monkeypatch.chdir(tmp_path)
    (commands,) = [b for b in blocks("sh") if b.startswith("pushforward")]
    # Not to learn as much: what runs is the same but for the limit.
    commands = commands.replace("--max-time 30s", "--max-time 3s")
    for command in commands.strip().splitlines():
        _, *arguments = shlex.split(command)
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception}"
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert {"digits.png", "scores.csv", "runs/digits/best/model.safetensors"} <= made


def test_the_two_commands_are_targets_of_the_makefile():
    makefile = README.with_name("Makefile").read_text(encoding="utf-8")
    (commands,) = [b for b in blocks("sh") if b.startswith("make")]
    for line in commands.strip().splitlines():
        target = line.split()[1]
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", README.read_text(encoding="utf-8")):
        assert (README.parent / link).exists(), link


def test_settings_in_the_guide_are_settings():
    from pushforward.cli.config import plan
    from pushforward.cli.yaml_text import load_yaml

    found = blocks("yaml", README.parent / "docs" / "guide.md")
    assert found
    for text in found:
        plan([load_yaml(text, "the guide")])
