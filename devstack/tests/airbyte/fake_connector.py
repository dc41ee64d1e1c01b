"""A source that speaks Airbyte's protocol and does what its configuration says.

- The stream `events` (primary key `id`, cursor `updated_at`) has `rows` rows, three in each second.
  Every read repeats the second that it goes on from, as GitHub's source does.
- The stream `log` has as many rows and no key; its state is the number of rows that were read.
- The stream `odd` has the records in `odd`, which is a text of JSON, because the records have
  values that a configuration cannot store.

After every `page` rows come a state and a pause of `pause` seconds. After `fail_after` rows the
source fails as `ending` says: with an error trace that says `message`, without a reason, with a
damaged line, with an incomplete stream, or killed.
"""

import datetime as dt
import json
import os
import signal
import sys
import time
from pathlib import Path

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def event(number: int) -> dict:
    second = START + dt.timedelta(seconds=number // 3)
    return {
        "id": number,
        "updated_at": second.isoformat().replace("+00:00", "Z"),
        "name": f"event {number}",
        "payload": {"number": number},
    }


class Source:
    def __init__(self, config: dict, catalog: dict, state: list) -> None:
        self.config = config
        self.catalog = catalog
        self.state = {
            one["stream"]["stream_descriptor"]["name"]: one["stream"]["stream_state"]
            for one in state
        }
        self.sent = 0

    def read(self) -> None:
        if "stderr" in self.config:
            print(self.config["stderr"], file=sys.stderr)
        print("a stray line of some library")
        write_message("LOG", {"level": "WARN", "message": self.config.get("log", "reading")})
        for configured in self.catalog["streams"]:
            name = configured["stream"]["name"]
            getattr(self, f"read_{name}")(configured["sync_mode"] == "incremental")

    def read_events(self, incremental: bool) -> None:
        cursor = self.state.get("events", {}).get("updated_at", "") if incremental else ""
        since = 0
        for number in range(self.config["rows"]):
            row = event(number)
            if row["updated_at"] < cursor:
                continue
            self.send("events", row)
            since += 1
            if since % self.config.get("page", 50) == 0:
                self.checkpoint("events", {"updated_at": row["updated_at"]})
        if since:
            self.checkpoint("events", {"updated_at": row["updated_at"]})

    def read_log(self, incremental: bool) -> None:
        first = self.state.get("log", {}).get("next", 0) if incremental else 0
        for number in range(first, self.config["rows"]):
            self.send("log", {"line": f"line {number}"})
            if (number + 1) % self.config.get("page", 50) == 0:
                self.checkpoint("log", {"next": number + 1})
        self.checkpoint("log", {"next": self.config["rows"]})

    def read_odd(self, _: bool) -> None:
        for record in json.loads(self.config["odd"]):
            self.send("odd", record)

    def send(self, stream: str, data: dict) -> None:
        if self.sent == self.config.get("fail_after", -1):
            self.end()
        write_message("RECORD", {"stream": stream, "data": data, "emitted_at": 1700000000000})
        self.sent += 1

    def checkpoint(self, stream: str, state: dict) -> None:
        descriptor = {"stream_descriptor": {"name": stream}, "stream_state": state}
        write_message("STATE", {"type": "STREAM", "stream": descriptor})
        sys.stdout.flush()
        time.sleep(self.config.get("pause", 0))

    def end(self) -> None:
        ending = self.config.get("ending", "trace")
        if ending == "trace":
            error = {
                "message": self.config.get("message", "The token lacks the scope read:stars."),
                "internal_message": "403 from /stars",
                "failure_type": "config_error",
            }
            write_message("TRACE", {"type": "ERROR", "emitted_at": 1.5, "error": error})
        elif ending == "damaged":
            print('{"type": "RECORD", "record": {"stream": "events", "da')
        elif ending == "incomplete":
            status = {"stream_descriptor": {"name": "events"}, "status": "INCOMPLETE"}
            write_message(
                "TRACE", {"type": "STREAM_STATUS", "emitted_at": 1.5, "stream_status": status}
            )
            sys.exit(0)
        elif ending == "killed":
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            print("Traceback: something broke", file=sys.stderr)
        sys.stdout.flush()
        sys.exit(1)


def write_message(kind: str, content: dict) -> None:
    print(json.dumps({"type": kind, kind.lower(): content}))


def main() -> None:
    options = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    documents = []
    for option in ("--config", "--catalog", "--state"):
        if option in options:
            documents.append(json.loads(Path(options[option]).read_text()))
        else:
            documents.append([])
    Source(*documents).read()


if __name__ == "__main__":
    main()
