"""Shared tools of the Python tests."""
