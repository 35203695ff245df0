"""The decision about a file in the spool, for every kind and age, without a file system."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.engine.intake import (
    GIVEN_UP_MS,
    MOST_OPEN,
    SETTLED_MS,
    TAKE,
    Decision,
    Leave,
    Look,
    Reject,
    Rules,
    SpoolEntry,
    decide,
    decide_open,
    is_in_progress,
    mark_of,
    published_name,
    result_name,
    split_mark,
)

OWN, OTHER, GROUP = 1000, 1001, 4242
PRIVATE = Rules(OWN, None, max_bytes=1000, max_waiting=5)
SHARED = Rules(OWN, GROUP, max_bytes=1000, max_waiting=5)
PLAIN = SpoolEntry("a.cmd", stat.S_IFREG | 0o644, OWN, 1, 10, 7, 0, GROUP, is_members=True)
CLOSED, OPEN, UNKNOWN = Look(has_writer=False), Look(has_writer=True), Look(ends_in_newline=True)


def judged(
    entry: SpoolEntry = PLAIN, look: Look = CLOSED, age_ms: int = 0, waiting: int = 0, rules: Rules = PRIVATE
) -> Decision:
    return decide(entry, look, age_ms, waiting, rules)


def test_a_file_whose_writer_has_closed_it_is_taken_at_once() -> None:
    assert judged() == TAKE


@pytest.mark.parametrize("age_ms", [0, SETTLED_MS, 10 * GIVEN_UP_MS])
@pytest.mark.parametrize("entry", [PLAIN, PLAIN._replace(size=0), PLAIN._replace(name="b", size=10**9)])
def test_a_file_that_is_being_written_is_never_taken(entry: SpoolEntry, age_ms: int) -> None:
    assert judged(entry, OPEN, age_ms) == Leave("is being written")


@pytest.mark.parametrize("age_ms", [0, SETTLED_MS - 1])
def test_without_leases_a_file_must_not_change_for_a_while(age_ms: int) -> None:
    assert judged(look=UNKNOWN, age_ms=age_ms) == Leave("may be incomplete", SETTLED_MS)
    assert judged(look=UNKNOWN, age_ms=SETTLED_MS) == TAKE


def test_without_leases_a_text_without_a_last_newline_is_rejected_late() -> None:
    cut = Look(ends_in_newline=False)
    assert judged(look=cut, age_ms=GIVEN_UP_MS - 1) == Leave("does not end in a newline", GIVEN_UP_MS)
    assert isinstance(judged(look=cut, age_ms=GIVEN_UP_MS), Reject)
    assert judged() == TAKE, "a file whose writer has closed it is complete"


KINDS = {
    "a link": PLAIN._replace(mode=stat.S_IFLNK | 0o777),
    "a FIFO": PLAIN._replace(mode=stat.S_IFIFO | 0o644),
    "a socket": PLAIN._replace(mode=stat.S_IFSOCK | 0o644),
    "a device": PLAIN._replace(mode=stat.S_IFCHR | 0o644),
    "a directory": PLAIN._replace(mode=stat.S_IFDIR | 0o755, size=4096),
    "no ending": PLAIN._replace(name="a"),
    "a blank": PLAIN._replace(name="a b.cmd"),
    "a dash": PLAIN._replace(name="-a.cmd"),
    "no text": PLAIN._replace(name="\udcff.cmd"),
    "another digit": PLAIN._replace(name="a٣.cmd"),
    "too long": PLAIN._replace(name="a" * 122 + ".cmd"),
    "two lines": PLAIN._replace(name="a.cmd\n"),
    "empty": PLAIN._replace(size=0),
    "large": PLAIN._replace(size=1001),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rules", [PRIVATE, SHARED], ids=["private", "shared"])
def test_an_entry_that_can_never_be_a_drop_is_rejected_when_it_has_settled(kind: str, rules: Rules) -> None:
    entry = KINDS[kind]._replace(uid=OTHER)
    early = judged(entry, age_ms=SETTLED_MS - 1, rules=rules)
    rejection = judged(entry, age_ms=SETTLED_MS, rules=rules)
    assert isinstance(early, Leave) and early.until_ms == SETTLED_MS
    assert isinstance(rejection, Reject) and rejection.help and rejection.message == early.why
    assert rejection.message.isprintable()


@pytest.mark.parametrize("rules", [PRIVATE, SHARED], ids=["private", "shared"])
def test_a_file_whose_owner_the_namespace_does_not_map_is_rejected(rules: Rules) -> None:
    decision = judged(PLAIN._replace(uid=OTHER), age_ms=SETTLED_MS, rules=replace(rules, stranger=OTHER))
    assert isinstance(decision, Reject)
    assert decision.message == "the owner of the file is not mapped into the user namespace of the appliance"


@pytest.mark.parametrize("uid", [0, OWN])
def test_a_shared_spool_rejects_files_of_root_and_the_appliance(uid: int) -> None:
    assert judged(PLAIN._replace(uid=uid)) == TAKE
    rejection = judged(PLAIN._replace(uid=uid), age_ms=SETTLED_MS, rules=SHARED)
    assert isinstance(rejection, Reject) and "not trusted" in rejection.message
    assert judged(PLAIN._replace(uid=OTHER), rules=SHARED) == TAKE


def test_a_claimed_file_is_waited_for_while_it_is_open_but_not_for_long_and_not_many_of_an_owner() -> None:
    assert decide_open(GIVEN_UP_MS - 1, MOST_OPEN - 1) == Leave("is being written")
    for age_ms, others in ((GIVEN_UP_MS, 0), (0, MOST_OPEN)):
        rejection = decide_open(age_ms, others)
        assert isinstance(rejection, Reject) and rejection.help


UNTRUSTED = {
    "an owner outside the group": (PLAIN._replace(is_members=False), "not in the spool's group"),
    "another group": (PLAIN._replace(gid=GROUP + 1), "does not belong to the spool's group"),
    "writable by the group": (PLAIN._replace(mode=stat.S_IFREG | 0o664), "writable by its group"),
    "writable by everybody": (PLAIN._replace(mode=stat.S_IFREG | 0o646), "writable by its group or by everybody"),
}


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_a_shared_spool_rejects_what_others_may_have_written_or_moved(kind: str) -> None:
    entry, reason = UNTRUSTED[kind]
    assert judged(entry) == TAKE, "in a private spool, there are no others"
    rejection = judged(entry._replace(uid=OTHER), age_ms=SETTLED_MS, rules=SHARED)
    assert isinstance(rejection, Reject) and reason in rejection.message and rejection.help


def test_a_file_waits_while_its_owner_cannot_be_looked_up() -> None:
    """An error of a look-up is no answer."""
    entry = PLAIN._replace(uid=OTHER, is_members=None)
    assert judged(entry) == TAKE
    decision = judged(entry, age_ms=10 * GIVEN_UP_MS, rules=SHARED)
    assert isinstance(decision, Leave) and decision.until_ms == 10 * GIVEN_UP_MS + SETTLED_MS


@pytest.mark.parametrize("look", [CLOSED, UNKNOWN])
def test_a_file_that_others_may_write_is_rejected_at_once(look: Look) -> None:
    """A mode that is corrected a moment later does not undo a line that somebody has appended."""
    entry = PLAIN._replace(uid=OTHER, mode=stat.S_IFREG | 0o664)
    assert isinstance(judged(entry, look, rules=SHARED), Reject)
    assert judged(entry, OPEN, rules=SHARED) == Leave("is being written")


def test_a_shared_spool_takes_a_file_with_two_links_when_one_is_left() -> None:
    linked = PLAIN._replace(uid=OTHER, links=2)
    assert judged(linked) == TAKE
    assert isinstance(judged(linked, rules=SHARED), Leave), "a writer that links removes the other name a moment later"
    assert isinstance(judged(linked, age_ms=SETTLED_MS, rules=SHARED), Reject)


def test_an_unreadable_entry_is_rejected_with_the_reason() -> None:
    rejection = judged(look=Look(has_writer=False, unreadable="Permission denied"), age_ms=SETTLED_MS)
    assert isinstance(rejection, Reject) and rejection.message == "cannot be read: Permission denied"


def test_the_waiting_files_of_an_owner_are_limited() -> None:
    assert judged(waiting=4) == TAKE
    rejection = judged(waiting=5)
    assert isinstance(rejection, Reject) and rejection.message.startswith("5 other files")
    assert judged(waiting=5, look=UNKNOWN, age_ms=SETTLED_MS) == rejection
    assert judged(waiting=5, look=OPEN) == rejection


@pytest.mark.parametrize(
    "name", [".a.cmd", ".a.cmd.X1Y2Z3", "a.cmd~", "#a.cmd#", "a.tmp", "a.cmd.part", "a.swp", "b.filepart"]
)
def test_names_of_work_in_progress(name: str) -> None:
    assert is_in_progress(name)


@pytest.mark.parametrize("name", ["a.cmd", "tmp", "a.tmp.cmd", "part.cmd", "a#.cmd", "4913"])
def test_names_of_finished_work(name: str) -> None:
    assert not is_in_progress(name)


@given(st.integers(1, 10**14), st.text(min_size=1, max_size=200))
def test_a_mark_is_a_valid_file_name_with_a_number_and_never_makes_a_bad_name_valid(sequence: int, name: str) -> None:
    split = split_mark(mark := mark_of(sequence, name))
    assert split is not None and split[0] == sequence
    assert "/" not in mark and len(mark) < 200 and mark.isprintable()
    good = judged(PLAIN._replace(name=name)) == TAKE
    assert (judged(PLAIN._replace(name=split[1])) == TAKE) == good
    assert not good or split[1] == name


NAMES = st.from_regex(r"[a-z0-9]{1,5}(\\.cmd|~refused|)", fullmatch=True)


@given(st.lists(NAMES, min_size=2, max_size=2, unique=True), st.sampled_from([(None,), (1,), (1, 11), (0, 2**32 - 1)]))
def test_two_names_or_owners_have_two_results(names: list[str], owners: tuple[int | None, ...]) -> None:
    """Stored names end in `.cmd` for drops and in `~refused` for all else."""
    stored = {split[1] for name in names if (split := split_mark(mark_of(1, name)))}
    files = {published_name(name, owner) for name in stored for owner in owners}
    results = {result_name(name, owner) for name in stored for owner in owners}
    assert len(files) == len(results) == len(stored) * len(owners)
    assert not files & results
    assert not [name for name in files | results if split_mark(name)]


@pytest.mark.parametrize("name", ["stray", "1~a.cmd", "00000000000x~a.cmd", "~a.cmd", "000000000001~"])
def test_an_invalid_mark_is_not_taken_for_one(name: str) -> None:
    assert split_mark(name) is None
