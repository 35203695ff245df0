"""`config`: a value is shown in a form that the stanza language reads back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedappliance.commands.view import Order
from schedappliance.core.orders import carry_out
from schedappliance.engine.effects import Answer, ReadFiles, Reply
from schedappliance.engine.events import LineTyped
from schedappliance.model.commands import Command
from tests.support.core import OPERATOR, Appliance, configuration, spoken

# `config set` rejects a byte order mark earlier.
VALUES = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff") | st.just("\t"), max_size=30
)


@pytest.fixture(scope="module")
def memory() -> Iterator[Appliance]:
    appliance = Appliance(None)
    yield appliance
    appliance.close()


def carried_out(appliance: Appliance, form: str, *words: str, arrived: bool = True) -> Answer | None:
    arrived_ms = appliance.clock.moment().wall if arrived else None
    command = Command(form, words, None, None, " ".join(words))
    return carry_out(appliance.state, Order(OPERATOR, "console", command.text, command, arrived_ms))


def performed(appliance: Appliance, form: str, *words: str) -> str:
    answer = carried_out(appliance, form, *words)
    assert answer is not None
    return spoken(answer)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_a_set_value_is_shown_as_in_a_file(memory: Appliance, value: str) -> None:
    shown = performed(memory, "config_set", "", "", "Speed", value)
    assert shown == performed(memory, "config_get", "", "", "SPEED")
    option = configuration(f"{shown}\n").configuration.options["speed"]
    assert (option.name, option.value) == ("Speed", value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("86400", "86400"),
        ("/var/lib", "/var/lib"),
        ("a/*b", '"a/*b"'),
        ("", '""'),
        ("a b", '"a b"'),
        ('"', '"\\""'),
        ("\\", "\\"),
        ("\\ ", '"\\\\ "'),
        ("#1", '"#1"'),
        ("ü", '"ü"'),
        ("yes", "yes"),
        ("1,2", '"1,2"'),
    ],
)
def test_a_value_is_quoted_only_if_necessary(memory: Appliance, value: str, shown: str) -> None:
    assert performed(memory, "config_set", "", "", "Speed", value) == f"Speed = {shown}"


def test_the_error_for_an_unset_option_suggests_one_that_is_set(memory: Appliance) -> None:
    for name, remedy in (
        ("mesage_expiration", "did you mean `Message_Expiration`?"),
        ("xyz", "set it with `config set`; `config eval` shows the default"),
    ):
        answer = carried_out(memory, "config_get", "", "", name)
        assert answer is not None
        (diagnostic,) = answer.diagnostics
        assert (diagnostic.code, remedy in (diagnostic.help or "")) == ("E202", True)


@pytest.mark.parametrize("arrived", [True, False])
def test_only_a_reload_at_the_console_counts_as_typed(memory: Appliance, arrived: bool) -> None:
    assert carried_out(memory, "config_reload", arrived=arrived) is None
    effect = memory.state.effects.pop()
    assert isinstance(effect, ReadFiles)
    assert effect.typed is arrived


def test_all_options_as_data_are_sent_in_pieces(appliance: Appliance) -> None:
    effects = appliance.turn(LineTyped("json config show", OPERATOR, 1))
    (answer,) = [effect.answer for effect in effects if isinstance(effect, Reply)]
    pieces = list(answer.output)
    assert len(pieces) > 2
    assert [row["stanza"] for row in json.loads("".join(pieces))] == [
        row["stanza"] for row in appliance.data("config show")
    ]
