"""Two repositories in one location, from before there were Definitions."""

import dagster as dg


@dg.asset(key=["a", "one"])
def one(): ...


@dg.asset(key=["a", "two"], deps=[["a", "one"]])
def two(): ...


@dg.repository
def first():
    return [one]


@dg.repository
def second():
    return [two]
