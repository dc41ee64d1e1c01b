"""Plan and apply against a faulty Airbyte."""

from __future__ import annotations

from ingestion.apply import apply
from ingestion.connections import CONNECTIONS
from ingestion.plan import make_plan


def changes_of(plan):
    return {
        (one.kind, change.operation, ".".join(change.path)): (change.old, change.new)
        for one in plan.objects
        for change in one.changes
    }


class TestApply:
    def test_is_empty_afterwards(self, api, fake, env, digests):
        before = make_plan(api, CONNECTIONS, env, digests)
        apply(api, CONNECTIONS, env, digests)
        after = make_plan(api, CONNECTIONS, env, digests)

        assert not before.empty
        assert changes_of(after) == {}
        assert after.empty
