"""numpy, loaded without the threads of its linear algebra, which nothing here uses.

They cost every command a tenth of a second and tens of megabytes. The library reads their number
once, while it is loaded; what this process starts later sees the environment as it was.
"""

from __future__ import annotations

import os

__all__ = ["np"]

_THREADS = "OPENBLAS_NUM_THREADS"

_wanted = os.environ.get(_THREADS)
os.environ[_THREADS] = "1"
try:
    import numpy as np
finally:
    if _wanted is None:
        del os.environ[_THREADS]
    else:
        os.environ[_THREADS] = _wanted
