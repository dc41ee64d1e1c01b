"""Status: how targets stand, as values.

`document` has the values, `targets` and `locations` make them from a plan.
"""
