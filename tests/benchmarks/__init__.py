"""Measurements of what the README claims: ``python -m tests.benchmarks [name ...]``.

They take minutes and are not collected by pytest.
"""
