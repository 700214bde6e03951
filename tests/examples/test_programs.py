"""The examples inside other people's programs, each against what is known exactly."""

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def loaded(name, monkeypatch):
    """An example as a module; examples find one another in their folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_loop_by_hand_finds_the_posterior(monkeypatch):
    found = loaded("variational", monkeypatch).main()
    assert found["mean"] < 0.05, "in posterior deviations"
    assert found["std"] < 0.05
    assert -0.01 < found["gap"] < 0.05, "nats"


@pytest.mark.slow
def test_a_flow_is_a_guide_and_a_likelihood_in_pyro(monkeypatch):
    pytest.importorskip("pyro")
    import torch

    import pushforward as pf

    example = loaded("pyro_guide", monkeypatch)
    found = example.main()
    assert found["mean"] < 0.05, "in posterior deviations"
    assert found["std"] < 0.05
    assert -0.02 < found["gap"] < 0.05, "nats"
    # An untrained flow is the standard normal: the posterior of a shift is nearly the mean.
    noise = pf.RealNVP((1,), norm="none")
    observed = 3 + torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    assert abs(example.as_likelihood(noise, observed) - observed.mean()) < 0.05


@pytest.mark.slow
def test_a_flow_is_a_density_estimator_of_sbi(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # sbi writes its logs where it runs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what sbi imports
        pytest.importorskip("sbi")
        found = loaded("sbi_posterior", monkeypatch).main()
    assert found["mean"] < 0.25, "in posterior deviations"
    assert found["std"] < 0.12
    assert found["divergence"] < 0.05, "nats"
