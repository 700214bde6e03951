"""EM on several processes: one learns and writes, all end with the same mixture."""

import os
import pickle
import queue
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import InputError
from pushforward.models.gmm import GMM
from pushforward.training.em_ranks import learn_mixture
from pushforward.training.events import Events
from pushforward.training.settings import FitConfig


class Wire:
    """What ``Ranks`` is, between two threads."""

    size = 2

    def __init__(self, lead, line):
        self.lead, self.line, self.told = lead, line, []

    def share(self, value):
        if self.lead:
            self.line.put(pickle.dumps(value))
            return value
        self.told.append(pickle.loads(self.line.get(timeout=30)))
        return self.told[-1]


def both(x, folder=None, **options):
    """Both processes' flow and what ``learn_mixture`` gave or raised, the first one's first."""
    line, results = queue.Queue(), [None, None]
    events = Events(torch.as_tensor(x), None)
    flows = [GMM((2,), **options) for _ in range(2)]
    wires = [Wire(True, line), Wire(False, line)]

    def work(rank):
        settings = FitConfig(max_steps=30), wires[rank], folder, False, False
        try:
            results[rank] = learn_mixture(flows[rank], events, events, *settings)
        except InputError as error:
            results[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return flows, results, wires


def test_the_others_take_the_mixture_of_the_first(tmp_path):
    x = np.random.default_rng(0).normal([3.0, -5.0], [1.0, 20.0], size=(200, 2))
    (first, second), (run, same), (_, wire) = both(x, tmp_path)
    assert torch.equal(first.log_prob(x), second.log_prob(x))
    assert second.config == first.config
    assert second.facts == first.facts
    assert not second.training
    assert same.records == run.records
    assert wire.told.count(None) == len(run.records), "a sign of life after each validation"
    assert torch.equal(pf.load(tmp_path / "best").log_prob(x), second.log_prob(x))


def test_a_refusal_ends_all():
    _, (mine, theirs), _ = both(np.zeros((5, 2)), components=6)
    assert isinstance(theirs, InputError)
    assert "components=6" in str(theirs) == str(mine)


SCRIPT = """
import sys
import numpy as np
import pushforward as pf
x = np.random.default_rng(0).normal(size=(300, 2))
flow = pf.GMM((2,))
pf.fit(flow, x, folder=sys.argv[1], max_steps=40, progress=False)
print("found", float(flow.log_prob(x).sum()), flush=True)
"""


@pytest.mark.slow
def test_under_torchrun(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += [f"--master-port={random.randrange(20000, 60000)}"]
    command += [str(tmp_path / "run.py"), str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith("found")]
    assert len(found) == 2
    assert found[0] == found[1]
