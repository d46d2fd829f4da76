"""Alerts: what is wrong is told once, again while it lasts, and when it is well again."""
