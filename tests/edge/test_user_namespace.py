"""Which uid stands for users whom the user namespace of the process does not map."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedappliance.edge.user_namespace import stranger_uid

WHOLE = "0 0 4294967295\n"
ROOT_ALONE = "0 1000 1\n"
ROOTLESS = "0 1000 1\n1 100000 65536\n"
NOBODY = 65534


@pytest.mark.parametrize(
    ("uid_map", "own", "expected"),
    [
        (WHOLE, 0, None),
        (ROOT_ALONE, 0, NOBODY),
        # The namespace has a user of this number too, who cannot be told from the others.
        (ROOTLESS, 0, NOBODY),
        # The appliance is this user, and must be able to use its own console.
        (ROOTLESS, NOBODY, None),
        # It is not: the namespace maps nobody.
        ("", NOBODY, NOBODY),
        (ROOT_ALONE, NOBODY, NOBODY),
    ],
)
def test_the_number_of_unmapped_users_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid_map: str, own: int, expected: int | None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: own)
    (tmp_path / "uid_map").write_text(uid_map)
    assert stranger_uid(tmp_path, tmp_path) == expected
    (tmp_path / "overflowuid").write_text("4242\n")
    assert stranger_uid(tmp_path, tmp_path) == (None if uid_map == WHOLE else 4242)


def test_without_user_namespaces_every_user_is_known(tmp_path: Path) -> None:
    assert stranger_uid(tmp_path, tmp_path) is None
