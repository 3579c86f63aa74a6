"""Tests that hurt the platform they have, or want another one: those of a folder share theirs."""
