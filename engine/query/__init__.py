"""Answers over blocks: select, plan, aggregate, merge, shape."""
