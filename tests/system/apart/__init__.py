"""Tests that need a platform of their own."""
