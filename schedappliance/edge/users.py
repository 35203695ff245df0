"""Users by number, as the system knows them."""

from __future__ import annotations

import pwd

from schedappliance.engine.records import User


def user_named(uid: int) -> User:
    """A user by number; may ask a directory service, so never on the deciding thread."""
    try:
        return User(uid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return User(uid, f"uid-{uid}")
