"""Tests of skpuma; ``python -m tests`` runs all that has to pass."""
