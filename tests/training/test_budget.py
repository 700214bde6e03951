"""What is left of a run: steps, time, and wishes to stop."""

import pytest

from pushforward.training.budget import Budget
from pushforward.training.ranks import Ranks
from pushforward.training.settings import FitConfig


def test_the_limit_that_comes_first_ends_it():
    budget = Budget(FitConfig(max_time=100), 10, Ranks())
    budget.resume(30.0)
    assert budget.spent(5) == 0.5
    assert budget.spent(1) == 0.3
    assert budget.over(9) == ""
    assert budget.over(10) == "all steps done"
    budget.resume(100.0)
    assert budget.spent(1) == 1.0
    assert budget.over(9) == "time is up"


def test_a_wish_to_stop_is_heard_when_ranks_agree():
    budget = Budget(FitConfig(), None, Ranks())
    assert budget.agree(2.5, "") == 2.5
    assert budget.over(1_000_000) == ""
    assert budget.spent(1_000_000) == 0.0
    budget.agree(2.5, "interrupted")
    assert budget.over(1) == "interrupted"


def test_time_goes_on_from_earlier_sessions():
    budget = Budget(FitConfig(max_time=100), None, Ranks())
    budget.resume(60.0)
    budget.mark(7)
    budget.begin()
    budget.agree(0.0, "")
    assert 60.0 <= budget.elapsed < 100.0
    budget.elapsed = 62.0
    assert budget.speed(17) == pytest.approx(5.0)
