"""FlowOutlierDetector flags what is far, and as much of it as it is told."""

import numpy as np
import pytest
from quickly import quick, rows

from pushforward import InputError
from pushforward.sklearn import FlowOutlierDetector


def test_what_is_far_is_an_outlier():
    x = rows(300, 3)
    far = x[:5] + 60 * x.std(0)
    detector = quick(FlowOutlierDetector).fit(x)
    assert (detector.predict(far) == -1).all()
    assert (detector.decision_function(far) < 0).all()
    assert detector.p_values(far) == pytest.approx(np.full(5, 1 / 61))


def test_contamination_is_the_share_that_is_flagged():
    x = rows(200, 3)
    detector = quick(FlowOutlierDetector, contamination=0.1)
    assert (detector.fit_predict(x) == -1).mean() == pytest.approx(0.1, abs=0.006)
    assert np.array_equal(
        detector.decision_function(x), detector.score_samples(x) - detector.offset_
    )


def test_p_values_of_usual_rows_are_uniform_and_auto_is_one_of_twenty():
    detector = quick(FlowOutlierDetector).fit(rows(2_000, 2))
    fresh = rows(4_000, 2, seed=1)
    p = detector.p_values(fresh)
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=0.05)
    assert np.array_equal(detector.predict(fresh) == -1, p <= 0.05)


def test_it_calibrates_on_rows_that_it_has_not_learned_from():
    detector = quick(FlowOutlierDetector).fit(rows(100))
    assert len(detector.calibration_) == 20


@pytest.mark.parametrize("share", [0, 0.6, -1, "none", None])
def test_an_impossible_contamination_is_refused(share):
    with pytest.raises(InputError, match="contamination is 'auto' or a share"):
        quick(FlowOutlierDetector, contamination=share).fit(rows())
