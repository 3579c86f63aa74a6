"""Orders, and the saga that drives each one to its end."""
