"""What the paper's L2 penalty acts on."""

from __future__ import annotations

import pushforward as pf
from pushforward.elementwise import LearnedTanh
from pushforward.models.realnvp_paper import paper_decayed
from pushforward.nets.resnet import WeightNormConv


def test_gains_and_the_scales_of_checkerboards_are_decayed_and_nothing_else():
    flow = pf.create("realnvp-cifar10")
    decayed = {id(p) for p in paper_decayed(flow)}
    assert len(paper_decayed(flow)) == len(decayed)
    owners = {
        id(p): (type(m), name)
        for m in flow.modules()
        for name, p in m.named_parameters(recurse=False)
    }
    kinds = [owners[i] for i in decayed]
    # 10 couplings; in each the skip of the input, 8 blocks with a skip each, and the last.
    assert kinds.count((WeightNormConv, "magnitude")) == 10 * (1 + 8 + 8 + 1)
    # 3 checkerboards at the first scale and 4 at the last; 3 channel-wise couplings are free.
    assert kinds.count((LearnedTanh, "scale")) == 3 + 4
    assert len(kinds) == 180 + 7
    scales = [m.scale for m in flow.modules() if isinstance(m, LearnedTanh)]
    assert [scale.item() for scale in scales if id(scale) not in decayed] == [1.0] * 3


def test_a_flow_that_is_not_the_papers_has_nothing_decayed():
    assert paper_decayed(pf.RealNVP((1, 4, 4), width=4, couplings=2)) == []
