"""Effective values of options: the files, and the overrides set since."""

from __future__ import annotations

from schedappliance.engine.options import Options, Override
from tests.core.building import configuration

FILES = "Message_Expiration = 86400\nother = 1\n"


def options(*overrides: Override, files: str = FILES) -> Options:
    return Options(configuration(files).configuration, overrides)


def test_the_files_are_the_first_word() -> None:
    assert options().get("MESSAGE_expiration") == ("Message_Expiration", "86400")
    assert options().value("nowhere") is None


def test_an_override_is_the_later_word_and_keeps_the_spelling_of_the_files() -> None:
    made = options().override("message_EXPIRATION", "300")
    assert made == Override("message_expiration", "Message_Expiration", "300", "86400")
    assert options(made).get("message_expiration") == ("Message_Expiration", "300")


def test_an_option_that_no_file_has_is_spelt_as_it_was_first_set() -> None:
    first = options().override("Speed", "1")
    assert first == Override("speed", "Speed", "1", None)
    assert options(first).override("SPEED", "2") == Override("speed", "Speed", "2", None)


def test_making_an_override_does_not_put_it_into_effect() -> None:
    found = options()
    found.override("other", "2")
    assert found.value("other") == "1"


def test_an_override_is_outdated_when_the_files_have_changed_its_option() -> None:
    both = [
        options().override("other", "2"),
        options().override("Message_Expiration", "3"),
        options().override("new", "4"),
    ]
    assert options(*both).outdated() == []
    assert [o.option for o in options(*both, files="other = 5\nMessage_Expiration = 86400\n").outdated()] == ["other"]
    assert [o.option for o in options(*both, files="other = 1\n").outdated()] == ["message_expiration"]
    assert [o.option for o in options(*both, files=FILES + "NEW = 4\n").outdated()] == ["new"]
