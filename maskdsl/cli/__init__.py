"""Floor 10: the command line `maskdsl`; one command a file."""

from __future__ import annotations


def main() -> int:
    """Run the command line and return its exit code: 0 clean, 1 diagnostics, 2 usage, 3 our own fault."""
    from maskdsl.cli.program import run

    return run()
