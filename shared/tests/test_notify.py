"""Who is told what when a promise breaks, how often, and by how many notifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from freshline.contract import Export
from freshline.errors import CommandError, InstanceError, SettingsError
from freshline.lookout import Lookout
from freshline.model import Blame, Phase, TargetPlan, TargetStatus
from freshline.notify import Notifier, NotifySettings, read_notify_settings
from freshline.notify.incidents import Due, Incidents, Kind
from freshline.notify.memory import Memory
from freshline.notify.messages import message_of
from freshline.notify.standing import standings_of
from freshline.policy import MaxLag
from outlooks import NOW, blame, contract, hear, outlook_of, publish, report, target
from webhook import Webhook, running_webhook

INGEST = contract("ingest", Export(key="raw/x", owners=("team:ingest",)))
MARTS = contract(
    "marts",
    *(
        Export(key=f"mart/{name}", deps=("raw/x",), owners=("team:marts",), policy=MaxLag(5))
        for name in "ab"
    ),
    Export(key="mart/free", deps=("raw/x",), policy=MaxLag(5)),
    Export(key="mart/slow", owners=("team:slow",)),
)
FAILING = blame("raw/x", "ingest", Phase.FAILING)
SILENT = blame("raw/x", "ingest", Phase.SILENT)
RUNNING = blame("mart/slow", "marts", Phase.EXECUTION)
A, B, FREE = "mart/a", "mart/b", "mart/free"
MINUTE = 60.0


def late(key: str, held_by: Blame = FAILING) -> TargetPlan:
    return target(key, TargetStatus.LATE, held_by)


def blocked(key: str, held_by: Blame = SILENT) -> TargetPlan:
    return target(key, TargetStatus.BLOCKED, held_by)


class Story:
    """What happens to targets, and what the owners hear: each owner has an address of that name."""

    def __init__(
        self, repeat: float | None = None, addresses: dict[str, str] | None = None
    ) -> None:
        self.now = NOW
        self.incidents = Incidents()
        self._repeat = repeat
        self._addresses = addresses or {}

    def at(self, minutes: float, *targets: TargetPlan) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return what is told, to whom and of which targets, if these stand so at that time."""
        return [
            (due.address, due.kind.value, tuple(key for part in due.parts for key in part.targets))
            for due in self.due(minutes, *targets)
        ]

    def due(self, minutes: float, *targets: TargetPlan) -> list[Due]:
        self.now = NOW + minutes * MINUTE
        outlook = outlook_of(*targets, now=self.now, contracts=[INGEST, MARTS])
        self.incidents.update(standings_of(outlook), self.now)
        due = self.incidents.due(self._addresses_of, self._repeat, self.now)
        for each in due:
            self.incidents.note(each, self.now)
        return due

    def _addresses_of(self, owners: Iterable[str]) -> set[str]:
        return {self._addresses.get(owner, owner or "others") for owner in owners}


BROKEN, STILL, WHOLE = (kind.value for kind in (Kind.BROKEN, Kind.STILL, Kind.WHOLE))


class TestIncidents:
    def test_the_owners_of_the_target_and_of_what_holds_it_up_are_told(self) -> None:
        assert [("team:ingest", BROKEN, (A,)), ("team:marts", BROKEN, (A,))] == Story().at(
            0, late(A)
        )

    def test_nobody_is_told_twice_and_everybody_when_it_is_whole(self) -> None:
        story = Story()
        story.at(0, late(A))

        assert [] == story.at(1, late(A))
        assert [("team:ingest", WHOLE, (A,)), ("team:marts", WHOLE, (A,))] == story.at(2, target(A))
        assert [] == story.at(3, target(A))

    def test_what_one_location_breaks_is_one_message(self) -> None:
        told = Story().at(0, blocked(A), blocked(B))

        assert [("team:ingest", BROKEN, (A, B)), ("team:marts", BROKEN, (A, B))] == told

    def test_what_one_asset_breaks_later_is_no_second_message_to_the_same_owners(self) -> None:
        story = Story()
        story.at(0, late(A), target(B))

        assert [] == story.at(1, late(A), late(B))
        assert [] == story.at(2, target(A), late(B))
        assert [
            ("team:ingest", WHOLE, (A, B)),
            ("team:marts", WHOLE, (A, B)),
        ] == story.at(3, target(A), target(B))

    def test_what_several_causes_break_at_a_time_is_one_message_to_each_address(self) -> None:
        told = Story().at(0, late(A), late(B, RUNNING))

        assert [
            ("team:ingest", BROKEN, (A,)),
            ("team:marts", BROKEN, (A, B)),
            ("team:slow", BROKEN, (B,)),
        ] == sorted(told)

    def test_another_cause_is_another_message(self) -> None:
        story = Story()
        story.at(0, late(A))

        assert ("team:slow", BROKEN, (B,)) in story.at(1, late(A), late(B, RUNNING))

    def test_an_owner_whose_target_breaks_later_is_told_of_that(self) -> None:
        story = Story()
        story.at(0, late(A))

        assert [("others", BROKEN, (FREE,))] == story.at(1, late(A), late(FREE))

    def test_each_owner_hears_that_it_is_whole_when_its_own_targets_are(self) -> None:
        story = Story()
        story.at(0, late(A), late(FREE))

        assert [("others", WHOLE, (FREE,))] == story.at(1, late(A), target(FREE))

    def test_two_owners_with_one_address_are_told_once(self) -> None:
        story = Story(addresses={"team:ingest": "channel", "team:marts": "channel"})

        assert [("channel", BROKEN, (A,))] == story.at(0, late(A))

    def test_it_is_told_again_as_often_as_asked(self) -> None:
        story = Story(repeat=60 * MINUTE)
        story.at(0, late(A))
        found = [story.at(minutes, late(A)) for minutes in (59, 60, 61, 120)]

        both = [("team:ingest", STILL, (A,)), ("team:marts", STILL, (A,))]
        assert [[], both, [], both] == found

    def test_a_blame_that_moves_on_is_no_news(self) -> None:
        """While a late target comes nearer, the blame goes from asset to asset."""
        story = Story()
        story.at(0, late(A, blame("raw/x", "ingest", Phase.EXECUTION)))

        assert [] == story.at(0.1, late(A, blame("mart/slow", "marts", Phase.QUEUE)))
        assert [] == story.at(0.2, late(A, blame("mart/slow", "marts", Phase.EXECUTION)))

    def test_the_owner_of_what_stands_in_the_way_later_is_told_then(self) -> None:
        story = Story()
        story.at(0, late(A, blame("raw/x", "ingest", Phase.EXECUTION)))
        told = story.at(1, late(A, blame("mart/slow", "marts", Phase.FAILING)))

        assert [("team:slow", BROKEN, (A,))] == told

    def test_what_first_seemed_one_asset_and_is_the_location_stays_one_incident(self) -> None:
        story = Story()
        story.at(0, late(A, blame("raw/x", "ingest", Phase.WAIT)))

        assert [] == story.at(3, blocked(A), blocked(B))
        assert 1 == len(story.incidents.open)

    def test_an_incident_becomes_part_of_that_of_the_location(self) -> None:
        story = Story()
        story.at(0, late(A, blame("raw/x", "ingest", Phase.WAIT)), blocked(B))
        assert 2 == len(story.incidents.open)

        assert [] == story.at(1, blocked(A), blocked(B))
        assert {A, B} == story.incidents.open[0].members.keys()
        assert 1 == len(story.incidents.open)

    def test_a_target_that_breaks_again_is_told_again(self) -> None:
        story = Story()
        story.at(0, late(A))
        story.at(1, target(A))

        assert ("team:marts", BROKEN, (A,)) in story.at(2, late(A))

    def test_a_policy_that_is_gone_ends_it(self) -> None:
        story = Story()
        story.at(0, late(A))

        assert ("team:marts", WHOLE, (A,)) in story.at(1)

    def test_a_pause_ends_it(self) -> None:
        story = Story()
        story.at(0, late(A))

        assert ("team:marts", WHOLE, (A,)) in story.at(1, target(A, TargetStatus.PAUSED))

    def test_a_policy_that_cannot_be_held_is_the_business_of_its_owner_alone(self) -> None:
        story = Story()

        assert [("team:marts", BROKEN, (A,))] == story.at(0, target(A, TargetStatus.INFEASIBLE))

    def test_while_contracts_arrive_nobody_is_told_of_a_dependency_in_none(self) -> None:
        unknown = blame("raw/y", "marts", Phase.UNKNOWN, since=NOW)
        story = Story()

        assert [] == story.at(4, blocked(A, unknown))
        assert story.at(6, blocked(A, unknown))

    def test_a_restart_knows_what_was_told(self) -> None:
        story = Story()
        story.at(0, late(A))
        story.incidents = Incidents.from_json(story.incidents.to_json())

        assert [] == story.at(1, late(A))
        assert 2 == len(story.at(2, target(A)))

    def test_what_was_told_to_an_address_that_is_gone_is_forgotten(self) -> None:
        story = Story()
        story.at(0, late(A))
        story.incidents.forget_addresses(["team:marts"])

        assert [("team:marts", WHOLE, (A,))] == [
            it for it in story.at(1, target(A)) if it[1] == WHOLE
        ]

    def test_what_a_newer_freshline_keeps_is_refused(self) -> None:
        with pytest.raises(ValueError, match="less than or equal to 1"):
            Incidents.from_json('{"version": 2}')


class TestMessages:
    def test_a_message_says_what_is_broken_and_by_whom(self) -> None:
        (due, _) = Story().due(0, late(A), late(B))
        message = message_of(due, NOW)

        assert "2 promises are broken: raw/x (ingest) fails" == message.title
        assert [
            "mart/a (marts, team:marts): mart/a is late",
            "mart/b (marts, team:marts): mart/b is late",
            "",
            "Held up by: raw/x (ingest) fails",
            "Its owners: team:ingest",
        ] == message.body.splitlines()
        assert "failure" == message.tone

    def test_a_message_about_a_location_names_it(self) -> None:
        (due, *_) = Story().due(0, blocked(A))

        assert "mart/a: its promise is broken: ingest is silent" == message_of(due, NOW).title

    def test_a_policy_that_cannot_be_held_is_not_called_broken(self) -> None:
        story = Story()
        (due,) = story.due(0, target(A, TargetStatus.INFEASIBLE))
        (over,) = story.due(5, target(A))

        assert ("mart/a: its promise cannot be held", "warning") == (
            message_of(due, NOW).title,
            message_of(due, NOW).tone,
        )
        assert message_of(over, story.now).title.startswith(
            "mart/a: its promise can be held, after"
        )

    def test_the_last_message_says_how_long_it_lasted(self) -> None:
        story = Story()
        story.at(0, late(A))
        (due, _) = story.due(12, target(A))
        message = message_of(due, story.now)

        # The deadline had passed 30 s before the first look.
        assert (
            "mart/a: its promise is no longer broken, after 12 min 30 s",
            "mart/a (marts, team:marts): mart/a is fresh",
            "success",
        ) == message

    def test_a_repeated_message_says_so(self) -> None:
        story = Story(repeat=MINUTE)
        story.at(0, late(A))
        (due, _) = story.due(2, late(A))

        assert message_of(due, NOW).title.startswith("Still: mart/a: its promise is broken")

    def test_a_message_about_several_causes_has_a_section_for_each(self) -> None:
        messages = [message_of(due, NOW) for due in Story().due(0, late(A), late(B, RUNNING))]
        (message,) = [it for it in messages if "more cause" in it.title]

        assert "2 promises are broken: raw/x (ingest) fails, and 1 more cause" == message.title
        assert [
            "mart/a (marts, team:marts): mart/a is late",
            "",
            "Held up by: raw/x (ingest) fails",
            "Its owners: team:ingest",
            "",
            "mart/b (marts, team:marts): mart/b is late",
            "",
            "Held up by: mart/slow (marts) is still running",
            "Its owners: team:slow",
        ] == message.body.splitlines()

    def test_many_targets_are_counted(self) -> None:
        targets = [late(f"mart/t{number:02}") for number in range(25)]
        (due, *_) = Story().due(0, *targets)
        lines = message_of(due, NOW).body.splitlines()

        assert ["mart/t19 (marts): mart/t19 is late", "and 5 more"] == lines[19:21]


SETTINGS = """
repeat = "4h"
others = ["json://127.0.0.1:1/others"]

[owners]
"team:ingest" = ["json://127.0.0.1:1/ingest", "slack://${TOKEN}/alerts"]
"ana@example.com" = ["${WHOLE}"]
"""
VARIABLES = {"TOKEN": "a/b@c", "WHOLE": "json://user:a%40b@127.0.0.1:1/ana"}


class TestSettings:
    def test_addresses_have_the_values_of_variables(self, tmp_path: Path) -> None:
        settings = read_settings(tmp_path, SETTINGS)

        assert 4 * 3_600.0 == settings.repeat_seconds
        assert [
            "json://127.0.0.1:1/ingest",
            "slack://a%2Fb%40c/alerts",
            "json://user:a%40b@127.0.0.1:1/ana",
            "json://127.0.0.1:1/others",
        ] == [address.url for address in settings.addresses()]

    def test_whoever_has_no_address_is_told_at_others(self, tmp_path: Path) -> None:
        settings = read_settings(tmp_path, SETTINGS)

        for owners in (["team:unknown"], [""]):
            (address,) = settings.addresses_of(owners).values()
            assert "json://127.0.0.1:1/others" == address.url
        assert 3 == len(settings.addresses_of(["team:ingest", "team:unknown"]))

    def test_the_id_of_an_address_does_not_change_with_its_secret(self, tmp_path: Path) -> None:
        ids = [
            [
                it.id
                for it in read_settings(
                    tmp_path, SETTINGS, {**VARIABLES, "TOKEN": token}
                ).addresses()
            ]
            for token in ("one", "other")
        ]

        assert ids[0] == ids[1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("others = [", "notify.toml is not TOML"),
            ("", "notify.toml: no address, so nobody would be told; write"),
            ('others = ["${NOTHING}"]', "others[1]: the environment has no NOTHING; set it"),
            ('others = "json://x"', "others: must be a list of addresses, such as"),
            ('other = ["json://x"]', "other: no such setting; did you mean others?"),
            ('others = ["json://x", ""]', "others[2]: is empty"),
            ('others = ["json://x"]\nrepeat = "4"', "repeat: '4' is no duration; write 30m, 4h"),
            ("others = [1]", "others[1]: must be a list of addresses, such as"),
            ('[owners]\n"team:x" = "a secret"', 'owners."team:x": must be a list of addresses'),
            (
                '[owners]\n"team:x" = ["${NOTHING}"]',
                'owners."team:x"[1]: the environment has no NOTHING',
            ),
        ],
    )
    def test_what_is_wrong_is_named_with_file_field_and_fix(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        with pytest.raises(SettingsError) as raised:
            read_settings(tmp_path, text)

        assert message in str(raised.value)
        assert "notify.toml" in str(raised.value)

    def test_the_settings_of_this_workspace_can_be_used(self) -> None:
        file = Path(__file__).parents[2] / "deploy" / "monitoring" / "notify.toml"
        variables = {"SLACK_TOKEN": "xoxb-1-2-3", "DATA_PLATFORM": "json://127.0.0.1"}
        settings = read_notify_settings(file, variables)

        Notifier(Lookout(nothing), settings, print)
        assert 4 == len(settings.addresses())

    def test_a_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"notify\.toml: No such file or directory; docs/"):
            read_notify_settings(tmp_path / "notify.toml")

    def test_an_address_that_apprise_does_not_know_is_named_without_its_secret(
        self, tmp_path: Path
    ) -> None:
        settings = read_settings(tmp_path, 'others = ["slak://secret-token/alerts"]')

        with pytest.raises(SettingsError) as raised:
            Notifier(Lookout(nothing), settings, print)

        assert "others[1]: apprise cannot use this slak:// address" in str(raised.value)
        assert "secret-token" not in str(raised.value)


def read_settings(folder: Path, text: str, variables: dict[str, str] = VARIABLES) -> NotifySettings:
    file = folder / "notify.toml"
    file.write_text(text)
    return read_notify_settings(file, variables)


@contextmanager
def nothing() -> Iterator[dg.DagsterInstance]:
    raise InstanceError("nobody asks for the instance")
    yield


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestMemory:
    def test_one_notifier_holds_the_post(self, instance: dg.DagsterInstance) -> None:
        first, second = Memory(), Memory()

        assert [True, False, True] == [it.hold(instance) for it in (first, second, first)]

    def test_another_one_takes_it_at_once_when_it_was_given_up(
        self, instance: dg.DagsterInstance
    ) -> None:
        first, second = Memory(), Memory()
        first.hold(instance)
        second.hold(instance)
        first.release(instance)

        assert second.hold(instance)
        assert not first.hold(instance)

    def test_another_one_takes_it_when_nothing_was_heard_of_the_first(
        self, instance: dg.DagsterInstance
    ) -> None:
        clock = Clock()
        first, second = Memory(), Memory(clock)
        first.hold(instance)
        found = []
        for clock.now in (0.0, 29.0, 31.0):
            found.append(second.hold(instance))

        assert [False, False, True] == found
        assert not first.hold(instance)

    def test_nobody_takes_it_from_one_that_speaks(self, postgres: dg.DagsterInstance) -> None:
        clock = Clock()
        first, second = Memory(), Memory(clock)
        found = []
        for clock.now in (0.0, 29.0, 58.0, 87.0):
            first.hold(postgres)
            found.append(second.hold(postgres))

        assert [False] * 4 == found

    def test_only_the_holder_can_write(self, instance: dg.DagsterInstance) -> None:
        first, second = Memory(), Memory()
        first.hold(instance, "what was told")
        second.hold(instance, "something else")

        assert "what was told" == second.content(instance)

    def test_of_two_that_take_it_at_a_time_one_has_it(self, postgres: dg.DagsterInstance) -> None:
        clock = Clock()
        Memory().hold(postgres)
        rivals = [Memory(clock) for _ in range(2)]
        for rival in rivals:
            rival.hold(postgres)
        clock.now = 31.0

        assert [True, False] == [rival.hold(postgres) for rival in rivals]

    def test_nothing_is_kept_at_first(self, instance: dg.DagsterInstance) -> None:
        assert Memory().content(instance) is None


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with running_webhook() as webhook:
        yield webhook


class World:
    """An instance on which `ingest` may fall silent, and notifiers that tell a webhook."""

    def __init__(
        self, instance: dg.DagsterInstance, webhook: Webhook, settings: NotifySettings
    ) -> None:
        self.instance = instance
        self.webhook = webhook
        self._settings = settings
        self.said: list[str] = []

    def notifier(self) -> Notifier:
        @contextmanager
        def opened() -> Iterator[dg.DagsterInstance]:
            yield self.instance

        return Notifier(Lookout(opened), self._settings, self.said.append)

    def titles(self, path: str) -> list[str]:
        return [content["title"] for content in self.webhook.at(path)]


@pytest.fixture
def world(postgres: dg.DagsterInstance, webhook: Webhook, tmp_path: Path) -> World:
    publish(postgres, contract("marts", *MARTS.exports, tick=600.0))
    publish(postgres, INGEST, ago=300.0)
    report(postgres, "raw/x", ago=100.0)
    for key in (A, B, FREE):
        report(postgres, key, ago=50.0, inputs=["raw/x"])
    text = f"""
        others = ["json://{webhook.host}/others"]
        [owners]
        "team:ingest" = ["json://{webhook.host}/ingest"]
        "team:marts" = ["json://{webhook.host}/marts"]
    """
    return World(postgres, webhook, read_settings(tmp_path, text))


class TestNotifier:
    def test_a_silent_location_is_one_message_to_each_owner(self, world: World) -> None:
        notifier = world.notifier()
        notifier.step()
        notifier.step()

        assert ["3 promises are broken: ingest is silent"] == world.titles("/ingest")
        assert ["2 promises are broken: ingest is silent"] == world.titles("/marts")
        assert ["mart/free: its promise is broken: ingest is silent"] == world.titles("/others")

    def test_each_owner_hears_that_it_is_over(self, world: World) -> None:
        notifier = world.notifier()
        notifier.step()
        hear(world.instance, "ingest")
        notifier.step()

        assert 2 == len(world.titles("/ingest"))
        assert "no longer broken" in world.titles("/ingest")[1]
        assert "success" == world.webhook.at("/ingest")[1]["type"]

    def test_a_restart_tells_nothing_twice(self, world: World) -> None:
        first = world.notifier()
        first.step()
        first.close()
        second = world.notifier()
        second.step()
        hear(world.instance, "ingest")
        second.step()

        assert 2 == len(world.titles("/marts"))

    def test_a_second_notifier_stands_by(self, world: World) -> None:
        first, second = world.notifier(), world.notifier()
        for notifier in (first, second, first, second):
            notifier.step()

        assert 1 == len(world.titles("/ingest"))
        assert 1 == world.said.count("stands by: another notifier tells")

    def test_what_an_address_does_not_take_is_sent_again(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.notify.notifier._FIRST_PAUSE", 0.0)
        notifier = world.notifier()
        world.webhook.status = 503
        notifier.step()
        world.webhook.status = 200
        notifier.step()

        assert 1 == len(world.titles("/ingest"))
        assert any("could not tell" in line and "503" in line for line in world.said)

    def test_an_address_that_takes_nothing_is_not_tried_at_every_look(self, world: World) -> None:
        notifier = world.notifier()
        world.webhook.status = 503
        for _ in range(3):
            notifier.step()

        assert 3 == len([line for line in world.said if "could not tell" in line])

    def test_a_database_that_is_away_is_said_once(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notifier = world.notifier()
        monkeypatch.setattr(Memory, "hold", failing_with(OSError("gone")))
        notifier.step()
        notifier.step()
        monkeypatch.undo()
        notifier.step()

        assert [
            "nobody is told anything: the instance does not answer: gone",
            "the instance answers again",
        ] == [line for line in world.said if "instance" in line]
        assert 1 == len(world.titles("/ingest"))

    def test_owners_without_an_address_are_named(self, world: World) -> None:
        exports = (Export(key="mart/z", owners=("team:z",), policy=MaxLag(5)),)
        publish(world.instance, contract("z", *exports))
        world.notifier().step()

        assert [line for line in world.said if "`team:z`: what is theirs goes to others" in line]

    def test_a_test_goes_to_every_address(self, world: World) -> None:
        outcomes = world.notifier().send_test()

        assert [None] * 3 == [outcome.problem for outcome in outcomes]
        assert ["freshline: a test"] == world.titles("/others")

    def test_what_a_newer_freshline_has_kept_ends_it(self, world: World) -> None:
        memory = Memory()
        memory.hold(world.instance, '{"version": 2}')
        memory.release(world.instance)

        with pytest.raises(CommandError, match="kept by a newer freshline"):
            world.notifier().step()


def failing_with(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail
