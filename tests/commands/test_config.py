"""`config`: a value is shown so that the stanza language reads it back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedappliance.commands.view import Order
from schedappliance.core.orders import carry_out
from schedappliance.engine.effects import Answer, ReadFiles
from schedappliance.model.commands import Command
from tests.support.core import OPERATOR, Appliance, configuration, spoken

# `config set` rejects a byte order mark before it comes here.
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
def test_whatever_is_set_is_shown_as_the_files_would_say_it(memory: Appliance, value: str) -> None:
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
def test_a_value_is_quoted_only_when_it_must_be(memory: Appliance, value: str, shown: str) -> None:
    assert performed(memory, "config_set", "", "", "Speed", value) == f"Speed = {shown}"


def test_an_option_that_is_not_set_is_helped_with_a_name_that_is(memory: Appliance) -> None:
    for name, remedy in (
        ("mesage_expiration", "did you mean `Message_Expiration`?"),
        ("xyz", "set it with `config set`; `config eval` shows the default"),
    ):
        answer = carried_out(memory, "config_get", "", "", name)
        assert answer is not None
        (diagnostic,) = answer.diagnostics
        assert (diagnostic.code, remedy in (diagnostic.help or "")) == ("E202", True)


@pytest.mark.parametrize("arrived", [True, False])
def test_only_a_reload_that_somebody_gives_is_typed(memory: Appliance, arrived: bool) -> None:
    assert carried_out(memory, "config_reload", arrived=arrived) is None
    effect = memory.state.effects.pop()
    assert isinstance(effect, ReadFiles)
    assert effect.typed is arrived
