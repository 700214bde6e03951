"""Programs that run without the library give the flow's own numbers."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

import pushforward as pf
from pushforward import InputError, exporting
from pushforward.exporting import export
from registry import perturb

FLOWS = {
    "rows": lambda: pf.RealNVP((3,), width=8, couplings=2),
    "rotations": lambda: pf.RealNVP((4,), width=8, couplings=2, mixing="rotation", norm="batch"),
    "conditional": lambda: pf.RealNVP((2,), width=8, couplings=2, context=2),
    "integers": lambda: pf.RealNVP((5,), levels=16, width=8, couplings=2),
    "images": lambda: pf.RealNVP((1, 4, 4), width=4, couplings=2),
}


def made(name):
    flow = perturb(FLOWS[name]()).eval()
    x = torch.randn(50, *flow.shape)
    if flow.levels is not None:
        x = torch.randint(flow.levels, (50, *flow.shape), dtype=torch.uint8)
    given = (torch.randn(50, flow.context),) if flow.context else ()
    flow.initialise(x, *given)
    return flow, x, given


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_the_program_gives_the_flows_log_prob(name, format, tmp_path):
    flow, x, given = made(name)
    path = tmp_path / "density"
    assert export(flow, path, format=format) <= 1e-5
    if format == "torch":
        run = torch.export.load(path).module()
    else:
        session = onnxruntime.InferenceSession(path)
        names = [argument.name for argument in session.get_inputs()]
        assert names == ["x", "context"][: 1 + len(given)]
        assert [argument.name for argument in session.get_outputs()] == ["log_prob"]

        def run(*inputs):
            fed = {n: v.numpy() for n, v in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, fed)[0])

    for rows in (1, 3, 50):  # data that the export has not seen, in any number
        part = [values[:rows] for values in (x, *given)]
        expected = flow.log_prob(*part)
        assert torch.allclose(run(*part), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
@pytest.mark.parametrize("name", ["rows", pytest.param("images", marks=pytest.mark.slow)])
def test_latents_go_both_ways(name, ending, tmp_path):
    flow, x, _ = made(name)
    flow.export(tmp_path / f"encode{ending}", function="encode")
    flow.export(tmp_path / f"decode{ending}", function="decode")
    run = {}
    for function in ("encode", "decode"):
        path = tmp_path / f"{function}{ending}"
        if ending == ".pt2":
            run[function] = torch.export.load(path).module()
        else:
            session = onnxruntime.InferenceSession(path)

            def call(value, session=session):
                (argument,) = session.get_inputs()
                return torch.from_numpy(session.run(None, {argument.name: value.numpy()})[0])

            run[function] = call
    z = run["encode"](x)
    assert torch.allclose(z, flow.encode(x), rtol=1e-4, atol=1e-4)
    back = run["decode"](z)
    assert torch.equal(back, x) if flow.levels else torch.allclose(back, x, atol=1e-3)


def test_the_flow_stays_as_it_was(tmp_path):
    flow, x, _ = made("rotations")
    flow.train()
    before = {key: value.clone() for key, value in flow.state_dict().items()}
    flow.export(tmp_path / "a.pt2")
    assert flow.training
    assert all(p.requires_grad for p in flow.parameters())
    assert all(torch.equal(before[key], value) for key, value in flow.state_dict().items())
    assert flow(x)[0].requires_grad


def test_float64_goes_to_torch(tmp_path):
    flow, x, _ = made("rows")
    flow.double()
    assert flow.export(tmp_path / "a.pt2") < 1e-12
    program = torch.export.load(tmp_path / "a.pt2").module()
    assert torch.allclose(program(x.double()), flow.log_prob(x.double()), rtol=1e-12)
    with pytest.raises(InputError, match=r"cannot be exported to onnx .* float32"):
        flow.export(tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_the_file_says_what_it_is(tmp_path):
    import json

    flow, _, _ = made("rows")
    flow.export(tmp_path / "a.pt2", function="encode")
    files = {"pushforward.json": ""}
    torch.export.load(tmp_path / "a.pt2", extra_files=files)
    assert json.loads(files["pushforward.json"])["function"] == "encode"
    flow.export(tmp_path / "a.onnx")
    known = onnxruntime.InferenceSession(tmp_path / "a.onnx").get_modelmeta().custom_metadata_map
    assert known["pushforward.function"] == "log_prob"
    assert known["pushforward.unit"] == "nats"


# What cannot be exported -----------------------------------------------------------------------


class Branching(pf.layers.Layer):
    """Looks at its numbers to decide what to do, which no program can be traced through."""

    def forward(self, x, context=None):
        z = x if float(x.sum()) > 0 else -x
        return z, torch.zeros(x.shape[0])

    inverse = forward


def test_what_cannot_be_traced_is_one_sentence(tmp_path):
    flow = pf.Flow((2,), [Branching()])
    for ending in (".pt2", ".onnx"):
        with pytest.raises(
            InputError, match=r"log_prob of Flow\(\(2,\)\) cannot be exported"
        ) as told:
            flow.export(tmp_path / f"a{ending}")
        assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_vae_gives_its_means_and_says_in_a_line_what_onnx_lacks(tmp_path):
    vae = pf.VAE((2,), hidden=(4,), latent=2)
    assert vae.export(tmp_path / "a.pt2", function="encode") < 1e-5
    with pytest.raises(InputError) as told:
        vae.export(tmp_path / "a.onnx")
    assert "No ONNX function found" in str(told.value)
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) < 250


def test_a_program_that_differs_is_not_kept(tmp_path, monkeypatch):
    flow, _, _ = made("rows")
    (tmp_path / "a.pt2").write_text("what was there")
    honest = exporting._read_torch
    monkeypatch.setattr(
        exporting, "_read_torch", lambda path: lambda *given: honest(path)(*given) + 1e-3
    )
    with pytest.raises(InputError, match=r"its results differ by .*, so the file was not written"):
        flow.export(tmp_path / "a.pt2")
    assert (tmp_path / "a.pt2").read_text() == "what was there"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("a.bin", {}, r"end it in \.pt2 \(torch\) or \.onnx"),
        ("a.pt2", {"format": "tensorflow"}, "exported as torch or onnx; got 'tensorflow'"),
        ("a.pt2", {"function": "sample"}, "exports log_prob, encode, decode; got 'sample'"),
        ("no/../file.txt/a.pt2", {}, "cannot write"),
    ],
)
def test_mistakes_are_named(path, options, words, tmp_path):
    (tmp_path / "file.txt").write_text("in the way")
    with pytest.raises(InputError, match=words):
        made("rows")[0].export(tmp_path / path, **options)


def test_onnx_is_asked_for_if_it_is_not_there(tmp_path, monkeypatch):
    import importlib.util

    honest = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else honest(name)
    )
    with pytest.raises(InputError, match=r"needs onnxscript: pip install 'pushforward\[onnx\]'"):
        made("rows")[0].export(tmp_path / "a.onnx")


def test_numbers_are_those_of_evaluation_mode(tmp_path):
    flow = perturb(pf.RealNVP((2,), width=8, couplings=2, dropout=0.5)).train()
    flow.initialise(torch.randn(20, 2))
    flow.export(tmp_path / "a.pt2")
    program = torch.export.load(tmp_path / "a.pt2").module()
    x = torch.randn(9, 2)
    assert np.allclose(program(x), flow.eval().log_prob(x).detach(), atol=1e-5)
