"""Comparing names, column types and whole contracts."""
