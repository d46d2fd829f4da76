"""Rejected rows: what waits and why, correcting it by rule or by hand, and reading it again."""
