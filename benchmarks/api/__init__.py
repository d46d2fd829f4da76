"""Lookups at scale: published profiles by the million, one API worker, against a bare handler that returns documents of the same size."""
