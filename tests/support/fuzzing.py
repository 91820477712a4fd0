"""How often and how hypothesis tries."""

import os

from hypothesis import HealthCheck

TIMES = int(os.environ.get("FUZZ", "1"))
FUZZ = {
    "deadline": None,
    "derandomize": "CI" in os.environ,
    "print_blob": True,
    "suppress_health_check": [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
}
