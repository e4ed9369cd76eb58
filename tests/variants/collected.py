"""All oracles of the shipped definitions by name, and the file that each stands in.

Not here: what an oracle is (`oracle`), comparing (`test_definitions`), functions of other packages (`peer`).
"""

from __future__ import annotations

import importlib
from pathlib import Path

from oracle import Oracle

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("*_oracles.py"))
ORACLES: dict[str, Oracle] = {}
MODULE_OF: dict[str, str] = {}

for _module in MODULES:
    for _name, _oracle in importlib.import_module(_module).ORACLES.items():
        ORACLES[_name], MODULE_OF[_name] = _oracle, _module
