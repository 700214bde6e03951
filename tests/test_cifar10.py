"""The paper's CIFAR-10 model on CIFAR-10: its first loss is what the formulas say, and it falls."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward.layers import Coupling, FlowBatchNorm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images():
    folder = os.environ.get("PUSHFORWARD_DATA")
    if not folder:
        pytest.skip("set PUSHFORWARD_DATA to the folder that holds cifar10/")
    shard = Path(folder) / "cifar10" / "test-00000-of-00001.parquet"
    return torch.from_numpy(pf.open_data(str(shard)).everything[:1024])


def test_first_loss_is_what_the_formulas_predict(images):
    """bits/dim = 8 - [log N(z) + log-det + sum (ln .9 + softplus(y) + softplus(-y))] / (D ln 2).

    Each number of the latent left its last batch norm with unit variance, so the normal's share is
    (1 + log 2 pi) / 2 nats a dimension; checkerboards start with scale 0; the rest is read off the
    batch norms' variances and the channel-wise scales, in NumPy.
    """
    flow = pf.create("realnvp-cifar10", average="batch").train()
    batch = images[:64]
    scales, variances = [], []
    for module in flow.modules():
        if isinstance(module, Coupling):
            module.law.register_forward_hook(
                lambda law, _, out, module=module: scales.append(
                    module.split.total(out[1]).detach().double().numpy()
                )
            )
        if isinstance(module, FlowBatchNorm):
            module.register_forward_hook(
                lambda norm, _, out: variances.append(
                    (norm.count.squeeze().numpy(), norm.moments.variance.squeeze().numpy() / 0.1)
                )
            )
    with torch.no_grad():
        loss = flow.bits_per_dim(batch).mean().item()

    dims = 3 * 32 * 32
    x = (batch.numpy().astype(np.float64) + 0.5) / 256  # the noise's mean: its spread averages out
    p = 0.05 + 0.9 * x
    y = np.log(p / (1 - p))
    logit = (math.log(0.9) + np.logaddexp(0, y) + np.logaddexp(0, -y)).sum(axis=(1, 2, 3)).mean()
    normal = -0.5 * (1 + math.log(2 * math.pi)) * dims
    norms = -0.5 * sum((count * np.log(var + 1e-4)).sum() for count, var in variances)
    shifts = [s for s in scales if not s.any()]
    assert len(shifts) == 7  # every checkerboard coupling: 3 in the first scale, 4 in the last
    predicted = 8 - (normal + norms + sum(s.mean() for s in scales) + logit) / (dims * math.log(2))
    assert loss == pytest.approx(predicted, abs=5e-3)


def test_it_falls_over_fifty_steps(images):
    flow = pf.create("realnvp-cifar10")
    recipe = {"lr": 1e-3, "schedule": "constant", "warmup": 0, "ema": 0.0}
    run = pf.fit(
        flow,
        images.numpy(),
        batch_size=16,
        max_steps=50,
        validate_every=10,
        validate_on=16,
        clip=100 / (3072 * math.log(2)),
        progress=True,
        **recipe,
    )
    losses = [record["train"] for record in run.records]
    print("training bits/dim, ten steps at a time:", losses)
    assert losses[-1] < losses[0] - 1.0
    assert sorted(losses, reverse=True) == losses
