"""Webhooks: the change feed brought to whoever asked for it, in its order, signed, until it is taken or given up."""
