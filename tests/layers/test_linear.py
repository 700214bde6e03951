"""Permutations, rotations and LU: structure, precision and determinants."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from pushforward import InputError
from pushforward.layers import Conv1x1, Flip, LULinear, Permutation, Rotation


def matrix_of(layer, size):
    """The matrix of a linear layer, column by column."""
    return layer(torch.eye(size, dtype=torch.float64))[0].T.detach()


def test_permutation_and_flip_reorder_the_first_dimension():
    x = torch.randn(2, 3, 2, 2)
    assert torch.equal(Permutation([2, 0, 1])(x)[0], x[:, [2, 0, 1]])
    assert torch.equal(Flip()(x)[0], x[:, [2, 1, 0]])
    assert sorted(Permutation.random(9, 4).order.tolist()) == list(range(9))
    assert Permutation.random(9, 4).order.tolist() != Permutation.random(9, 5).order.tolist()


@pytest.mark.parametrize("order", [[0, 0, 1], [1, 2, 3], [[0, 1]]])
def test_what_is_no_permutation_is_refused(order):
    with pytest.raises(InputError, match="Permutation needs each of 0 to"):
        Permutation(order)


@pytest.mark.parametrize(
    "layer", [Permutation([0, 1, 2]), Rotation(3), LULinear(3)], ids=lambda la: type(la).__name__
)
def test_another_number_of_features_is_refused(layer):
    with pytest.raises(InputError, match=r"works on 3 features or channels; got .*\(4, 2, 2\)"):
        layer.output_shape((4, 2, 2))


@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_a_rotation_made_in_float32_is_orthogonal_to_all_digits_in_float64(size):
    layer = Rotation(size, seed=1).float().double()
    q = matrix_of(layer, size)
    assert torch.allclose(q @ q.T, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-13)
    x = torch.randn(10, size, dtype=torch.float64)
    assert torch.allclose(layer.inverse(layer(x)[0])[0], x, rtol=0, atol=1e-12)
    assert torch.allclose(layer(x)[0].norm(dim=1), x.norm(dim=1), rtol=0, atol=1e-12)
    assert layer(x)[0].dtype == torch.float64
    single = Rotation(size, seed=1)(x.float())[0]
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), layer(x)[0], atol=1e-5)


def test_rotations_are_drawn_from_the_haar_measure():
    # Each entry squared of a Haar matrix of size 3 is Beta(1/2, 1), and both signs are alike.
    entries = np.array([Rotation(3, seed).matrix.numpy() for seed in range(400)])
    for i, j in [(0, 0), (0, 2), (1, 0), (2, 2)]:
        values = entries[:, i, j]
        assert scipy.stats.kstest(values**2, scipy.stats.beta(0.5, 1).cdf).pvalue > 1e-3
        assert scipy.stats.binomtest(int((values > 0).sum()), 400).pvalue > 1e-3


def test_a_rotation_does_not_touch_the_global_random_state():
    state = torch.get_rng_state()
    Rotation(4)
    LULinear(4)
    Permutation.random(4)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [1, 2, 5, 30])
@pytest.mark.parametrize("seed", [0, 1, None])
def test_lu_made_in_float32_is_precise_in_float64(size, seed):
    layer = LULinear(size, seed).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    x = torch.randn(10, size, dtype=torch.float64)
    z, log_det = layer(x)
    assert torch.allclose(layer.inverse(z)[0], x, rtol=0, atol=1e-12 * size)
    w = matrix_of(layer, size)
    assert torch.allclose(log_det, torch.linalg.slogdet(w).logabsdet.expand(10), rtol=0, atol=1e-12)


def test_lu_starts_as_a_rotation_or_as_the_identity():
    w = matrix_of(LULinear(6, seed=3).double(), 6)
    assert torch.allclose(w, Rotation(6, seed=3).matrix, atol=1e-6)
    assert torch.allclose(w @ w.T, torch.eye(6, dtype=torch.float64), atol=1e-6)
    x = torch.randn(4, 6)
    z, log_det = LULinear(6, seed=None)(x)
    assert torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(4))


def test_lu_on_an_image_is_a_1x1_convolution():
    layer = Conv1x1(3, seed=2).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    w = matrix_of(layer, 3)
    expected = torch.nn.functional.conv2d(x, w[:, :, None, None])
    z, log_det = layer(x)
    assert torch.allclose(z, expected, atol=1e-12)
    assert torch.allclose(log_det, 20 * torch.linalg.slogdet(w).logabsdet.expand(2), atol=1e-12)
    rotated, _ = Rotation(3, seed=2).double()(x)
    q = Rotation(3, seed=2).matrix[:, :, None, None]
    assert torch.allclose(rotated, torch.nn.functional.conv2d(x, q), atol=1e-12)


def test_the_triangles_stay_triangles_when_their_other_half_is_written_to():
    layer = LULinear(4).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    z, log_det = layer(x)
    with torch.no_grad():
        layer.lower += torch.ones(4, 4).triu()
        layer.upper += torch.ones(4, 4).tril()
    assert torch.equal(layer(x)[0], z)
    assert torch.equal(layer(x)[1], log_det)
    assert torch.allclose(layer.inverse(z)[0], x)


def test_autocast_does_not_blunt_the_data_path():
    x = torch.randn(8, 16)
    for layer in (LULinear(16), Rotation(16)):
        z, back = layer(x)[0], layer.inverse(x)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(x)[0], z)
            assert torch.equal(layer.inverse(x)[0], back)
