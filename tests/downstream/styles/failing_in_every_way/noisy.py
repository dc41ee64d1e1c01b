"""Prints what could pass for an answer, and leaves a process behind."""

import subprocess
import sys

import dagster as dg

print('{"document": {"location": "noisy"}}')
sys.stdout.flush()
print("noise", file=sys.stderr)
subprocess.Popen(["sleep", "600"])


@dg.asset(key=["noisy", "table"])
def table(): ...


defs = dg.Definitions(assets=[table])
