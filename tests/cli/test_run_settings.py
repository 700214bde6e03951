"""How the settings of a run are merged and checked: nothing here reads data or trains."""

import pytest

from pushforward.cli.config import merge_fit, plan, read_config, read_sets
from pushforward.cli.yaml_text import dump_yaml, load_yaml
from pushforward.errors import InputError

SOURCE = {"source": "digits"}


def message(*levels):
    with pytest.raises(InputError) as caught:
        plan([SOURCE, *levels])
    return str(caught.value)


def test_the_later_level_wins():
    config = {"model": {"width": 1, "depth": 1}, "fit": {"lr": 1.0, "clip": 1.0}}
    sets = read_sets(["model.width=2", "fit.lr=2"])
    flags = {"fit": {"lr": 3.0}}
    asked = plan([SOURCE, config, sets, flags])
    assert asked.model == {"width": 2, "depth": 1}
    assert asked.fit == {"lr": 3.0, "clip": 1.0}
    assert asked.name == "realnvp"


def test_a_limit_replaces_all_limits_of_weaker_levels():
    assert merge_fit({"max_time": 60, "lr": 1}, {"epochs": 3}) == {"lr": 1, "epochs": 3}
    assert merge_fit({"max_time": 60}, {"lr": 1}) == {"max_time": 60, "lr": 1}
    assert merge_fit({"max_time": 60}, {"max_time": None}) == {"max_time": None}
    both = plan([SOURCE, {"fit": {"epochs": 3, "max_steps": 9}}, {"fit": {"max_time": 5}}])
    assert both.fit == {"max_time": 5}


def test_a_weaker_limit_is_checked_before_it_is_dropped():
    levels = {"fit": {"max_time": "soon"}}, {"fit": {"max_steps": 3}}
    assert message(*levels).startswith("fit.max_time = 'soon' will not do: give a time such as")


def test_seed_is_of_the_weights_and_of_the_training():
    asked = plan([SOURCE, {"model": {"seed": 1}, "fit": {"seed": 1}}], 7)
    assert asked.model["seed"] == asked.fit["seed"] == 7
    assert plan([SOURCE, {"fit": {"seed": 3}}]).model == {}


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ({"fit": {"lrr": 1}}, "fit.lrr is not a setting; did you mean fit.lr?"),
        ({"model": {"coupling": 1}}, "model.coupling is not a setting; did you mean model.coup"),
        ({"data": {"colums": "a"}}, "data.colums is not a setting; did you mean data.columns?"),
        ({"optim": {"lr": 1}}, "optim.lr is not a setting; did you mean fit.lr?"),
        ({"sauce": "digits"}, "sauce is not a setting; did you mean source?"),
        ({"zzz": 1}, "zzz is not a setting; the sections are model, fit and data"),
        ({"fit": {"qqqqqq": 1}}, "fit.qqqqqq is not a setting; fit has epochs, max_steps"),
        ({"modle": {"a": 1}}, "modle.a is not a setting; did you mean model?"),
        ({"modle": {"width": 1}}, "modle.width is not a setting; did you mean model.width?"),
        ({"modle": 1}, "modle is not a setting; did you mean model?"),
        ({7: 1}, "7 is not a setting"),
        ({"fit": 3}, "fit = 3 will not do: fit is a section, with settings such as fit.epochs"),
        ({"model": "realnvp"}, "model = 'realnvp' will not do: model is a section"),
        ({"model": {"name": "realmvp"}}, "model.name = 'realmvp' is not a model; did you mean rea"),
        ({"model": {"name": 3}}, "model.name = 3 is not a model; pushforward models lists"),
        ({"model": {"couplings": "x"}}, "model.couplings = 'x' will not do: input should be a val"),
        ({"model": {"couplings": 0}}, "model.couplings = 0 will not do: input should be greater"),
        ({"model": {"mixing": "lu2"}}, "model.mixing = 'lu2' will not do: input should be 'permu"),
        ({"model": {"context": 2}}, "model.context follows from what is given: leave it out and"),
        ({"fit": {"lr": -1}}, "fit.lr = -1 will not do: input should be greater than 0"),
        ({"fit": {"max_time": "soon"}}, "fit.max_time = 'soon' will not do: give a time such as"),
        ({"data": {"size": 0}}, "data.size = 0 will not do"),
        ({"data": {"fractions": [0.1]}}, "data.fractions = [0.1] will not do"),
        ({"data": {"fractions": [0.1, "x"]}}, "data.fractions.1 = 'x' will not do"),
        ({"source": 3}, "source = 3 will not do: it is a name or a path"),
        ({"source": None}, "no source was given"),
        (
            {"model": {"name": "realnvp-cifar10", "couplings": 3}},
            "model.couplings is not a setting",
        ),
    ],
)
def test_bad_settings_are_named_by_their_whole_path(level, said):
    assert message(level).startswith(said)


def test_columns_are_names_or_a_text_with_commas():
    assert plan([SOURCE, {"data": {"columns": "a, b"}}]).data.columns == ("a", "b")
    assert plan([SOURCE, {"data": {"columns": ["a, b", 1]}}]).data.columns == ("a, b", "1")


def test_sets_are_yaml():
    items = ["fit.lr=3e-4", "fit.max_time=1:30", "model.shape=[1,28,28]", "fit.flip=true", "a="]
    assert read_sets(items) == {
        "fit": {"lr": 3e-4, "max_time": "1:30", "flip": True},
        "model": {"shape": [1, 28, 28]},
        "a": None,
    }


@pytest.mark.parametrize("item", ["fit.lr", "=3", ""])
def test_a_set_without_path_or_value(item):
    with pytest.raises(InputError, match="--set takes a setting and its value"):
        read_sets([item])


def test_a_set_of_a_section_and_of_a_part_of_it():
    with pytest.raises(InputError, match=r"gives both fit and fit.lr"):
        read_sets(["fit=3", "fit.lr=1"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e4", 1e4),
        ("-2.5", -2.5),
        (".5", 0.5),
        ("12", 12),
        ("0", 0),
        ("012", "012"),
        ("1:30", "1:30"),
        ("1_000", 1000),
        (".inf", float("inf")),
        ("15m", "15m"),
        ("null", None),
        ("e5", "e5"),
    ],
)
def test_yaml_reads_as_people_mean_it(text, value):
    assert load_yaml(text, "test") == value


def test_yaml_survives_a_round_trip():
    content = {"a": (1, 2.5), "b": {"c": None, "d": 1e-05, "e": "1e5", "f": "ä: x"}, "g": 0.1 + 0.2}
    read = load_yaml(dump_yaml(content), "test")
    assert read == {**content, "a": [1, 2.5]}


def write(tmp_path, content):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"fit: {lr: 1\n", "run.yaml, line 2: "),
        (b"fit:\n  lr: 1\n  lr: 2\n", "run.yaml, line 2: 'lr' is given twice."),
        (b"\xff\xfe\x00", "it is not text"),
        (b"- 1\n", "holds no settings"),
        (b"a: \x01\n", "is not valid YAML"),
    ],
)
def test_a_bad_config_file_says_where(tmp_path, content, said):
    with pytest.raises(InputError) as caught:
        read_config(write(tmp_path, content))
    assert said in str(caught.value)


def test_a_missing_config_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the configuration .*: No such file"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"cannot read the configuration .*: Is a directory"):
        read_config(tmp_path)


def test_empty_files_and_sections_say_nothing(tmp_path):
    assert read_config(write(tmp_path, b"")) == {}
    level = read_config(write(tmp_path, b"fit:\n  # lr: 3\nsource: digits\n"))
    assert plan([level]).fit == {}
