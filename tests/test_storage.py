"""Saved models: the same numbers come back, or one sentence says why not; saving never destroys."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

import pushforward as pf
from failing import Failing
from pushforward import storage
from pushforward.layers import ActNorm
from registry import perturb


def rows_flow(seed=0, **options):
    flow = pf.RealNVP((3,), couplings=2, width=8, seed=seed, **options)
    return perturb(flow, seed).eval()


@pytest.fixture
def saved(tmp_path):
    rows_flow().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda: pf.RealNVP((5,), couplings=3, width=8, mixing="rotation", norm="batch"),
        lambda: pf.RealNVP((4,), couplings=2, width=8, mixing="lu", context=2, base="logistic"),
        lambda: pf.RealNVP((1, 8, 8), levels=17, couplings=2, width=4),
        lambda: pf.create("realnvp-cifar10", shape=(3, 4, 4), width=4, blocks=1),
    ],
)
def test_the_very_same_log_prob_comes_back(make, dtype, tmp_path):
    flow = perturb(make().to(dtype)).eval()
    x = torch.randn(6, *flow.shape, dtype=dtype)
    if flow.levels is not None:
        x = torch.randint(flow.levels, x.shape)
    context = torch.randn(6, flow.context, dtype=dtype) if flow.context else None
    flow.facts = {"data": {"name": "nothing"}, "test": 1.5, "bad": float("nan"), "list": [1, 2]}
    flow.save(tmp_path / "model")
    again = pf.load(tmp_path / "model")
    assert again.dtype == dtype
    assert not again.training
    assert torch.equal(again.log_prob(x, context), flow.log_prob(x, context))
    assert again.config == flow.config
    assert again.facts == {**flow.facts, "bad": None}


def test_the_directory_holds_what_the_documentation_says(saved):
    assert {p.name for p in saved.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    config = json.loads((saved / "config.json").read_text())
    assert config["format"] == storage.FORMAT
    assert config["config"]["shape"] == [3]
    assert "nats" in (saved / "README.md").read_text()


def test_saving_again_keeps_other_files(saved):
    (saved / "notes.txt").write_text("mine")
    other = rows_flow(seed=1)
    other.save(saved)
    x = torch.randn(4, 3)
    assert torch.equal(pf.load(saved).log_prob(x), other.log_prob(x))
    assert (saved / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("keep", [0, 1, 9, 100, -1])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_truncated_file_is_named(saved, name, keep):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[:keep])
    with pytest.raises(pf.InputError, match=r"cut short|altered") as error:
        pf.load(saved)
    assert name in str(error.value)


def test_every_flipped_byte_is_noticed(saved):
    for name in ("model.safetensors", "config.json"):
        content = bytearray((saved / name).read_bytes())
        for position in range(0, len(content), max(1, len(content) // 40)):
            broken = bytearray(content)
            broken[position] ^= 0x11
            (saved / name).write_bytes(bytes(broken))
            with pytest.raises(pf.InputError):
                pf.load(saved)
        (saved / name).write_bytes(bytes(content))
    pf.load(saved)


def rewrite(folder, **changes):
    """Change the configuration as a person would who also mends its checksum."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("sha256")
    config.update(changes)
    config["sha256"] = storage._digest(config)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99, "pushforward": "7.0"}, r"newer pushforward \(7.0"),
        ({"family": "nothing"}, "'nothing', which this version does not know"),
        ({"config": {"shape": [3], "coupling": 4}}, "has no setting 'coupling'"),
        ({"config": {"shape": [4], "couplings": 2, "width": 8}}, "do not belong together"),
        ({"config": {"shape": [3], "couplings": 3, "width": 8}}, "misses tensor"),
        ({"dtype": "float16"}, "altered"),
        ({"facts": []}, "altered"),
    ],
)
def test_a_foreign_configuration_is_one_sentence(saved, changes, words):
    rewrite(saved, **changes)
    with pytest.raises(pf.InputError, match=words):
        pf.load(saved)


def test_what_is_not_a_model(tmp_path):
    with pytest.raises(pf.InputError, match="no such directory"):
        pf.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(pf.InputError, match="is a file"):
        pf.load(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(pf.InputError, match=r"no config\.json"):
        pf.load(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(pf.InputError, match="not a pushforward model"):
        pf.load(tmp_path / "empty")
    with pytest.raises(pf.InputError, match="overwritten"):
        rows_flow().save(tmp_path / "empty")
    with pytest.raises(pf.InputError, match="it is a file"):
        rows_flow().save(tmp_path / "file")


def test_a_missing_weights_file(saved):
    (saved / "model.safetensors").unlink()
    with pytest.raises(pf.InputError, match=r"has no model\.safetensors"):
        pf.load(saved)


def test_loading_runs_no_code(saved, tmp_path):
    """A pickle in the place of the weights is refused unread."""
    mark = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (mark,))

    content = pickle.dumps(Bomb())
    (saved / "model.safetensors").write_bytes(content)
    config = json.loads((saved / "config.json").read_text())
    weights = {**config["weights"], "sha256": storage.hashlib.sha256(content).hexdigest()}
    rewrite(saved, weights=weights)
    with pytest.raises(pf.InputError, match="cannot be read"):
        pf.load(saved)
    assert not mark.exists()


def test_a_flow_built_by_hand_cannot_be_saved(tmp_path):
    flow = pf.Flow((2,), [ActNorm((2,))])
    with pytest.raises(pf.InputError, match="put together by hand"):
        flow.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("forever", [False, True])
def test_a_save_that_fails_anywhere_leaves_the_old_model_or_the_new(tmp_path, forever):
    old, new = rows_flow(seed=1), rows_flow(seed=2)
    x = torch.randn(5, 3)
    before, after = old.log_prob(x), new.log_prob(x)
    outcomes = set()
    for n in range(1, 60):
        folder = tmp_path / f"model-{n}"
        old.save(folder)
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, n, forever)
            try:
                new.save(folder)
                failed = False
            except pf.InputError as error:
                assert "No space left" in str(error) or "could not rename" in str(error)
                failed = True
        result = pf.load(folder).log_prob(x)
        assert torch.equal(result, before) or torch.equal(result, after), n
        outcomes.add((failed, torch.equal(result, after)))
        if failing.calls < n:
            break
        if not failed:  # a failed fsync of a folder is forgiven; the save holds
            assert torch.equal(result, after)
        shutil.rmtree(folder)
    else:
        pytest.fail("a save takes more calls than this test allows for")
    assert (True, False) in outcomes
    assert (False, True) in outcomes


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "blocked").write_text("a file where a folder should be")
    with pytest.raises(pf.InputError, match="cannot write"):
        rows_flow().save(tmp_path / "blocked" / "model")


def test_the_folder_of_a_run_gives_its_best_model(tmp_path):
    flow = pf.RealNVP((2,), couplings=2, width=8)
    flow.save(tmp_path / "run" / "best")
    x = torch.randn(5, 2)
    assert torch.equal(pf.load(tmp_path / "run").log_prob(x), flow.eval().log_prob(x))
    other = pf.RealNVP((3,), couplings=2, width=8)
    other.save(tmp_path / "run")  # a model of its own comes first
    assert pf.load(tmp_path / "run").shape == (3,)


def test_a_run_without_a_model_says_so(tmp_path):
    (tmp_path / "config.yaml").write_text("source: digits\n")
    with pytest.raises(pf.InputError, match="of a run that has not saved a model yet"):
        pf.load(tmp_path)
