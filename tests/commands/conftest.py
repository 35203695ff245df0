"""The appliances of the core's tests."""

from tests.core.conftest import appliance, either

__all__ = ["appliance", "either"]
