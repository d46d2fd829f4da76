"""Linking a file of people without a workspace."""
