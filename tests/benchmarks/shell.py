"""The command as the tests give it."""

import pytest

from ssl_theory.benchmarks import __main__ as command


def bench(*arguments: object) -> int:
    """Its exit code."""
    with pytest.raises(SystemExit) as left:
        command.main([str(a) for a in arguments])
    return int(left.value.code or 0)
