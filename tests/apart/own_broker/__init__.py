"""Tests that stop and start a platform, and its broker."""
