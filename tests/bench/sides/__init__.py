"""The Python programs that are measured, ours and others'. The Node ones are in tests/bench/peers/."""
