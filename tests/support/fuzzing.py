"""The settings of hypothesis: how often and how it tries."""

import os

from hypothesis import HealthCheck
from hypothesis import strategies as st

EXAMPLES_FACTOR = int(os.environ.get("FUZZ", "1"))
HYPOTHESIS_SETTINGS = {
    "deadline": None,
    "derandomize": "CI" in os.environ,
    "print_blob": True,
    "suppress_health_check": [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
}


def one_of(*values):
    """Return a strategy that draws one of the values."""
    return st.sampled_from(values)
