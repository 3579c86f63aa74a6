"""Faults on purpose: a simulated shop, and the real one, are hurt in every way we know, and their books are checked."""
