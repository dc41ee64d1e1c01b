"""The stack of one checkout: Postgres, GitHub's stand-in and the embedded Airbyte together.

`stack` knows the four services, their order and what is in them; `services` starts, stops and
watches any service; `records` recognizes the processes behind it; `environment`
keeps the settings in `.env`; `foreground` runs a command with the stack around it.
"""
