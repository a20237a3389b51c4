"""Planted faults can be planted."""

from tests.mutants.__main__ import MUTANTS, ROOT


def test_every_fault_finds_its_text_once_and_changes_it():
    """A module that was rewritten would otherwise be found out by `make mutants` alone, which takes long."""
    sources = {one.module: (ROOT / "ssl_theory" / "losses" / f"{one.module}.py").read_text() for one in MUTANTS}
    stale = [(one.module, one.kind) for one in MUTANTS if sources[one.module].count(one.old) != 1 or one.old == one.new]
    assert stale == []
