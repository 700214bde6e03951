"""Neighbours are those that scikit-learn finds, whatever the block size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from pushforward import GAN, InputError, RealNVP, nearest


def flow_of_rows():
    flow = RealNVP((4,), width=8, couplings=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return flow.double().eval()


@pytest.mark.parametrize("block", [3, 64, 4096])
def test_they_are_those_of_scikit_learn(block):
    flow, rng = flow_of_rows(), np.random.default_rng(0)
    data = rng.normal(size=(200, 4)) * [1, 10, 100, 0.01] + 5
    queries = rng.normal(size=(7, 4)) * [1, 10, 100, 0.01] + 5
    found = nearest(flow, queries, data, k=6, metric="distance", block=block)
    z, zq = (flow.encode(x).detach().numpy() for x in (data, queries))
    for ours, far, a, b in (
        (found.latent, found.latent_distance, z, zq),
        (found.data, found.data_distance, data / data.std(0), queries / data.std(0)),
    ):
        distance, places = NearestNeighbors(n_neighbors=6).fit(a).kneighbors(b)
        assert (ours == places).all()
        assert far == pytest.approx(distance, rel=1e-9)


def test_angles_are_in_degrees():
    flow, rng = flow_of_rows(), np.random.default_rng(1)
    data = rng.normal(size=(50, 4))
    found = nearest(flow, data[:3], data, k=4, metric="angle", own=[0, 1, 2])
    z = flow.encode(data).detach().numpy()
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip(z[:3] @ z.T, -1, 1)))
    angle[range(3), range(3)] = np.inf
    assert (found.latent == np.argsort(angle, axis=1)[:, :4]).all()
    assert found.latent_distance == pytest.approx(np.sort(angle, axis=1)[:, :4], rel=1e-6)


def test_none_is_its_own_neighbour_unless_it_is_a_query_from_elsewhere():
    flow, x = flow_of_rows(), np.random.default_rng(2).normal(size=(20, 4))
    assert (nearest(flow, x, x, k=1).latent[:, 0] == np.arange(20)).all()
    found = nearest(flow, x[[4, 9]], x, k=19, own=[4, 9])
    for row, own in enumerate((4, 9)):
        assert sorted(found.data[row]) == [i for i in range(20) if i != own]


def test_of_equals_the_first_comes_first_in_any_block():
    flow, x = flow_of_rows(), np.ones((9, 4))
    for block in (2, 100):
        assert nearest(flow, x[:1], x, k=4, block=block).data.tolist() == [[0, 1, 2, 3]]


def test_more_draws_see_the_event_through_its_noise_and_leave_the_noise_as_it_was():
    flow = RealNVP((1, 8, 8), levels=2, width=4, couplings=1)
    x = torch.zeros(40, 1, 8, 8, dtype=torch.long)  # ink in one row of the paper only
    x[:, 0, 0] = (torch.arange(40)[:, None] * 5 + 3) >> torch.arange(8) & 1
    twin = x.clone()
    twin[:, 0, 7, 7] = 1  # other noise in every pixel
    before = flow.encode(x)
    found = [nearest(flow, x, twin, k=1, draws=k).latent[:, 0] == np.arange(40) for k in (1, 30)]
    assert found[1].mean() > found[0].mean()
    assert torch.equal(flow.encode(x), before)


def test_a_constant_column_and_integers():
    flow = flow_of_rows()
    x = np.random.default_rng(3).normal(size=(10, 4))
    x[:, 2] = 7.0
    assert np.isfinite(nearest(flow, x[:2], x, k=3).data_distance).all()
    images = torch.randint(0, 17, (10, 1, 4, 4)).numpy()
    found = nearest(RealNVP((1, 4, 4), levels=17, width=4), images[:2], images, k=3, own=[0, 1])
    gap = np.linalg.norm((images[found.data[0]] - images[:1]).reshape(3, -1), axis=1)
    assert found.data_distance[0] == pytest.approx(gap)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "got k=0"),
        ({"k": 6}, "has 5 possible neighbours"),
        ({"k": 5, "own": [0]}, "has 4 possible neighbours"),
        ({"k": 1, "draws": 0}, "at least one draw"),
        ({"k": 1, "metric": "cosine"}, "'angle' or 'distance'"),
        ({"k": 1, "model": GAN((4,))}, "no way leads back"),
    ],
)
def test_what_will_not_do_is_said(options, said):
    x = np.zeros((5, 4), np.float32)
    arguments = {"model": RealNVP((4,), width=4, couplings=1), "queries": x[:1], "data": x}
    with pytest.raises(InputError, match=said):
        nearest(**arguments | options)
