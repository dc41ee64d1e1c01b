"""What launcher and workers agree on: the task, and how Celery keeps it."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["TASK", "queue_of", "queue_settings"]

TASK: Final = "freshline.execute_run"


def queue_of(location: str, image: str | None) -> str:
    """Return the queue of the runs of a location whose code is in the container image `image`.

    None: it is in no image. Each image has a queue of its own, because nobody but its own workers
    has its code.
    """
    return f"{location}@{image}" if image else location


def queue_settings() -> dict[str, Any]:
    """Return Celery's settings, the same for those who put runs into queues and who take them."""
    return {
        "broker_connection_max_retries": None,  # a worker waits for the broker for ever
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "queue_order_strategy": "priority",
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            # A worker that was cut off asks anew after as many seconds. Default 25: for so long the
            # broker could hand it a run over a connection that is dead.
            "health_check_interval": 5,
            # A run that was taken by a worker which then was killed, or lost its connection, before
            # it began is handed out again after this many seconds. Celery's default is an hour.
            "visibility_timeout": 30,
        },
        "task_ignore_result": True,  # the event log has what became of a run
        "task_acks_late": False,  # a run that was begun is never begun again by the broker
        # A worker takes a run only when it has a place for it: until then others can.
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_remote_control": False,
        "worker_hijack_root_logger": False,
        # Default 4: where a fork needs longer, on a busy host, it was killed and forked again.
        "worker_proc_alive_timeout": 60.0,
        "worker_max_tasks_per_child": 1,  # each run has a fresh fork
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,  # what a run prints is captured by Dagster
        "worker_send_task_events": False,
    }
