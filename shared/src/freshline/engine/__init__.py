"""Runs by warm workers: one queue a code location, served by that team's own processes.

Dagster's daemon launches a run by putting it into the queue of its location (`launcher`). A worker
of that location takes it (`worker`): a process that has loaded the location's code, and forks for
each run (`execution`). The supervisor of `freshline.serving` keeps the `workers` of one machine
going, and renews one when the files that it has loaded change (`loaded_files`). A run that nobody
can take any more goes back into Dagster's queue (`waiting`). Launcher and workers know of each
other through the broker alone (`broker`).

Needs Celery, Redis' client and dagster-celery: ``freshline[engine]``.
"""
