"""Compiled kernels for the tests of backends: kept on disk between runs, where nobody chose another place."""

from __future__ import annotations

import os
from pathlib import Path

# Set before Inductor is imported; a kernel costs 5 to 20 s without it and about 2 s with it.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parents[2] / ".pytest_cache" / "inductor"))
