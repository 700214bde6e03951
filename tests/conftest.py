"""Settings of all tests: one thread, repeatable examples, no deadlines on shared machines."""

import hypothesis
import pytest
import torch

torch.set_num_threads(1)  # tiny tensors: more threads only wait for one another
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _repeatable():
    torch.manual_seed(0)
