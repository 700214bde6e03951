"""scikit-learn's own checks, all of them, with no expected failure."""

import pytest
from quickly import ESTIMATORS, quick
from sklearn.utils.estimator_checks import parametrize_with_checks

pytestmark = pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API")


@parametrize_with_checks([quick(make, random_state=None) for make in ESTIMATORS])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([make() for make in ESTIMATORS])
def test_scikit_learns_checks_with_no_argument_given(estimator, check):
    check(estimator)
