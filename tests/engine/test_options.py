"""The options: the files, later overrides, the defaults, and the global options."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from schedappliance.engine.options import Options, Override, Overrides, Place, with_overrides
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.option_paths import GLOBAL, SCHED, Scope
from schedappliance.model.schedules import Every
from schedappliance.model.stanzas import InvalidOptions
from schedappliance.syntax.printer import as_data
from tests.support.core import configuration

FILES = "Message_Expiration = 86400\nother = 1\n"
STANZAS = """\
speed = 3
sched { history = 7 }
program "work" { argv = ( "/bin/work" ) timeout = 5 env = [ A = 1 ] env = [ B = 2 ] }
job "tidy" { every = 60 command = "run work" }
"""
WORK, TIDY = Scope("program", "work"), Scope("job", "tidy")


def options(*overrides: Override, files: str = FILES) -> Options:
    return with_overrides(configuration(files).configuration, overrides)


def shown(options: Options, name: str, scope: Scope = GLOBAL) -> tuple[str, object] | None:
    pair = options.get(scope, name)
    return (pair[0], as_data(pair[1])) if pair else None


def made(name: str, value: str, scope: Scope = GLOBAL, files: str = FILES) -> Override:
    return options(files=files).override(Place(scope, name.lower()), name, value)


def test_the_files_set_the_first_values() -> None:
    assert shown(options(), "MESSAGE_expiration") == ("Message_Expiration", "86400")
    assert options().value("nowhere") is None


def test_an_override_replaces_the_value_and_keeps_the_spelling_of_the_files() -> None:
    override = made("message_EXPIRATION", "300")
    assert override == Override(Place(GLOBAL, "message_expiration"), "Message_Expiration", "300", "86400")
    assert shown(options(override), "message_expiration") == ("Message_Expiration", "300")


def test_an_option_without_a_file_is_spelt_as_it_was_first_set() -> None:
    first = made("Speed", "1")
    assert first == Override(Place(GLOBAL, "speed"), "Speed", "1", None)
    again = options(first).override(Place(GLOBAL, "speed"), "SPEED", "2")
    assert again == Override(Place(GLOBAL, "speed"), "Speed", "2", None)


def test_put_returns_new_options_and_leaves_the_old_unchanged() -> None:
    before = options()
    after = before.put(made("other", "2"))
    assert (before.value("other"), after.value("other")) == ("1", "2")
    assert after.without([Place(GLOBAL, "other")]).value("other") == "1"


def test_an_override_is_outdated_when_the_files_have_changed_its_option() -> None:
    both = [made("other", "2"), made("Message_Expiration", "3"), made("new", "4")]
    assert options(*both).outdated() == []

    def outdated(files: str) -> list[str]:
        return [o.place.option for o in options(*both, files=files).outdated()]

    assert outdated("other = 5\nMessage_Expiration = 86400\n") == ["other"]
    assert outdated("other = 1\n") == ["message_expiration"]
    assert outdated(FILES + "NEW = 4\n") == ["new"]


@pytest.mark.parametrize(
    ("scope", "name", "value", "effective"),
    [
        (WORK, "timeout", "9", lambda c: c.programs["work"].timeout_ms == 9000),
        (WORK, "success", "( 0 3 )", lambda c: c.programs["work"].success == (0, 3)),
        (TIDY, "every", "1h", lambda c: c.jobs["tidy"].schedule == Every(3_600_000)),
        (TIDY, "enabled", "off", lambda c: not c.jobs["tidy"].enabled),
        (SCHED, "history", "9", lambda c: c.history == 9),
        (SCHED, "max_jobs", "4", lambda c: (c.max_jobs, c.history) == (4, 7)),
    ],
)
def test_an_option_of_a_stanza_takes_effect_in_its_configuration(
    scope: Scope, name: str, value: str, effective: object
) -> None:
    before = options(files=STANZAS)
    after = before.put(made(name, value, scope, STANZAS))
    assert callable(effective)
    assert not effective(before.configuration)
    assert effective(after.configuration)
    assert effective(with_overrides(after.files, after.overrides.values()).configuration)
    assert after.configuration.options == before.configuration.options
    assert after.configuration.programs.keys() == before.configuration.programs.keys()
    back = after.without([Place(scope, name)])
    assert not effective(back.configuration)


@pytest.mark.parametrize(
    ("scope", "name", "value"),
    [
        (TIDY, "at", "1800000000"),
        (TIDY, "command", "run nothing"),
        (TIDY, "command", "sched every 60 pid"),
        (TIDY, "command", "run work 5"),
        (WORK, "timeout", "x"),
        (Scope("program", "nobody"), "timeout", "5"),
    ],
)
def test_an_override_that_the_files_do_not_allow_is_rejected(scope: Scope, name: str, value: str) -> None:
    before = options(files=STANZAS)
    override = Override(Place(scope, name), name, value, None)
    with pytest.raises(InvalidOptions):
        before.put(override)
    stored = with_overrides(before.files, [override])
    assert (stored.unfit, stored.outdated()) == ((override,), [override])
    assert stored.configuration.jobs == before.configuration.jobs


def test_a_value_falls_back_to_the_default_then_to_the_global_option() -> None:
    tree = options(files=STANZAS)

    def evaluated(scope: Scope, name: str) -> object:
        pair = tree.evaluate(scope, name)
        return (pair[0], as_data(pair[1])) if pair else None

    assert evaluated(WORK, "Timeout") == ("timeout", "5")
    assert evaluated(WORK, "kill_after") == ("kill_after", "10")
    assert evaluated(WORK, "success") == ("success", ["0"])
    assert evaluated(WORK, "SPEED") == ("speed", "3")
    assert evaluated(WORK, "max_running") is None
    assert evaluated(GLOBAL, "nothing") is None
    assert shown(tree, "kill_after", WORK) is None


def test_a_scope_shows_the_options_set_in_it() -> None:
    tree = options(files=STANZAS).put(made("kill_after", "3", WORK, STANZAS))
    assert [(name, as_data(value)) for name, value in tree.shown(WORK)] == [
        ("argv", ["/bin/work"]),
        ("timeout", "5"),
        ("env", {"A": "1", "B": "2"}),
        ("kill_after", "3"),
    ]
    assert tree.scopes() == [SCHED, WORK, TIDY]
    assert options().scopes() == []


RELATED = STANZAS + (
    'days "holidays" { dates = ( "*-12-25" ) }\n'
    'job "late" { every = 60 command = "run work" }\n'
    'job "daily" { calendar = "12:00 UTC" command = "run work" }\n'
)
LATE, DAILY, HOLIDAYS = Scope("job", "late"), Scope("job", "daily"), Scope("days", "holidays")
# In an order in which they can be set: `within` needs the zone.
CHANGES = [
    Override(Place(SCHED, "zone"), "zone", "UTC", None),
    Override(Place(SCHED, "history"), "history", "9", None),
    Override(Place(HOLIDAYS, "dates"), "dates", '( "*-05-01" )', None),
    Override(Place(LATE, "within"), "within", "08:00..18:00", None),
    Override(Place(DAILY, "except"), "except", "holidays", None),
    Override(Place(LATE, "enabled"), "enabled", "no", None),
    Override(Place(WORK, "timeout"), "timeout", "9", None),
    Override(Place(GLOBAL, "speed"), "speed", "5", None),
]


def put_together(overrides: Iterable[Override], files: str = RELATED) -> Options:
    """The options after `config set` of each of these overrides."""
    made = options(files=files)
    for override in overrides:
        made = made.put(override)
    return made


def meaning(options: Options) -> tuple[object, ...]:
    """What the overrides of CHANGES can change. The places of values differ."""
    made = options.configuration
    jobs = {name: (job.schedule, job.enabled) for name, job in made.jobs.items()}
    return jobs, made.zone, made.history, made.days, made.programs["work"].timeout_ms, options.unfit


def test_overrides_that_count_on_one_another_survive_a_restart() -> None:
    made = put_together(CHANGES)
    for order in (CHANGES, CHANGES[::-1], sorted(CHANGES)):
        assert meaning(with_overrides(made.files, order)) == meaning(made)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_left_of_the_overrides_is_as_if_the_others_had_never_been_set(seed: int) -> None:
    random = Random(seed)
    dropped = random.sample(CHANGES, random.randint(1, len(CHANGES)))
    made = put_together(CHANGES).without(override.place for override in dropped)
    kept = [override for override in CHANGES if override not in dropped]
    wanted = with_overrides(made.files, kept)
    assert list(made.overrides.values()) == kept
    assert (meaning(made), made.of_stanzas) == (meaning(wanted), wanted.of_stanzas)


TOGETHER = (
    Override(Place(LATE, "within"), "within", "08:00..18:00", None),
    Override(Place(LATE, "zone"), "zone", "UTC", None),
)
MISFITS = (
    Override(Place(DAILY, "at"), "at", "1800000000", None),
    Override(Place(TIDY, "within"), "within", "08:00..18:00", None),
    Override(Place(DAILY, "except"), "except", "nothing", None),
    Override(Place(Scope("job", "gone"), "enabled"), "enabled", "no", None),
    Override(Place(SCHED, "max_running"), "max_running", "none", None),
    Override(Place(HOLIDAYS, "dates"), "dates", '( "*-13-01" )', None),
)


@pytest.mark.parametrize("overrides", [TOGETHER, TOGETHER[::-1]])
def test_overrides_of_a_stanza_fit_if_they_fit_together(overrides: tuple[Override, ...]) -> None:
    """The rows are in another order than the one in which the options were set."""
    read = options(*overrides, files=RELATED)
    assert read.unfit == ()
    schedule = read.configuration.jobs["late"].schedule
    assert isinstance(schedule, CalendarRule)
    assert (schedule.within, schedule.zone) == (("08:00..18:00",), "UTC")


def test_overrides_that_do_not_fit_leave_the_other_stanzas_alone() -> None:
    read = options(*TOGETHER, *MISFITS, files=RELATED)
    assert set(read.unfit) == set(MISFITS)
    assert meaning(read)[:-1] == meaning(options(*TOGETHER, files=RELATED))[:-1]


@pytest.mark.parametrize("seed", range(40))
def test_options_that_follow_other_overrides_are_as_if_they_were_read_with_them(seed: int) -> None:
    random = Random(seed)
    every = [*CHANGES, *TOGETHER, *MISFITS]

    def some() -> list[Override]:
        chosen = random.sample(every, random.randint(0, len(every)))
        return list({override.place: override for override in chosen}.values())

    after = some()
    made = options(*some(), files=RELATED).following(Overrides(after))
    wanted = options(*after, files=RELATED)
    assert list(made.overrides.values()) == after
    assert meaning(made)[:-1] == meaning(wanted)[:-1]
    assert set(made.unfit) == set(wanted.unfit)
    assert (set(made.outdated()), made.of_stanzas) == (set(wanted.outdated()), wanted.of_stanzas)


def test_a_stanza_that_no_override_concerns_stays_the_same_object() -> None:
    before = options(CHANGES[5], files=RELATED)
    after = before.following(Overrides([CHANGES[6]]))
    assert after.configuration.jobs["tidy"] is before.configuration.jobs["tidy"]
    assert after.configuration.jobs["late"].enabled


def test_an_override_that_counts_on_one_that_is_unset_has_no_effect() -> None:
    zone, within = CHANGES[0], CHANGES[3]
    left = put_together([zone, within]).without([zone.place])
    assert left.unfit == (within,)
    assert left.configuration.jobs["late"].schedule == Every(60_000)


def test_an_override_can_be_unset_though_another_one_counts_on_it() -> None:
    """With the dates of May, the job is due only because its `calendar` was set to May too."""
    files = 'program "work" { argv = ( "/bin/work" ) }\n' + (
        'days "holidays" { dates = ( "*-12-25" "*-05-01" ) }\n'
        'job "late" { calendar = "*-12-01..31" only = holidays zone = UTC command = "run work" }\n'
    )
    calendar = Override(Place(LATE, "calendar"), "calendar", "*-05-01..31", "*-12-01..31")
    dates = Override(Place(HOLIDAYS, "dates"), "dates", '( "*-05-01" )', None)
    with pytest.raises(InvalidOptions):
        put_together([dates], files)
    left = put_together([calendar, dates], files).without([calendar.place])
    assert left.unfit == (dates,)
    assert left.configuration == configuration(files).configuration
