"""flowjax over rows, compiled by ``jax.jit`` as its own training loop does it."""

from __future__ import annotations

from typing import Any

from .rounds import Task
from .rows import BATCH, WIDTH

__all__ = ["task"]


def task(job: str, dims: int, rows: int, couplings: int = 10) -> Task:
    """A training step, the log_prob of rows, or a sample of rows; see ``rows.task``."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    import paramax
    from flowjax.distributions import StandardNormal
    from flowjax.flows import coupling_flow
    from flowjax.train.losses import MaximumLikelihoodLoss
    from flowjax.train.train_utils import step

    flow = coupling_flow(
        jax.random.key(0),
        base_dist=StandardNormal((dims,)),
        flow_layers=couplings,
        nn_width=WIDTH,
        nn_depth=2,
    )
    params, static = eqx.partition(
        flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    x = jax.random.normal(jax.random.key(1), (rows, dims))
    if job == "train":
        adam, loss = optax.adam(1e-5), MaximumLikelihoodLoss()
        state: dict[str, Any] = {"params": params, "adam": adam.init(params)}

        def train() -> None:
            state["params"], state["adam"], value = step(
                state["params"], static, x, optimizer=adam, opt_state=state["adam"], loss_fn=loss
            )
            jax.block_until_ready((state["params"], value))

        return Task(train, parameters)

    if job == "sample":
        draw = eqx.filter_jit(lambda key: flow.sample(key, (rows,)))
        return Task(lambda: draw(jax.random.key(2)).block_until_ready(), parameters)
    score = eqx.filter_jit(flow.log_prob)
    parts = [jnp.asarray(x[start : start + BATCH]) for start in range(0, rows, BATCH)]
    return Task(lambda: [score(part).block_until_ready() for part in parts], parameters)
