"""A location of jobs alone."""

import dagster as dg


@dg.op
def greet(): ...


@dg.job
def greetings():
    greet()


defs = dg.Definitions(jobs=[greetings])
