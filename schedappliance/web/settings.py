"""The settings of the page: the section `web` of the appliance file, with the users that this machine knows.

Rule: what cannot be resolved stops the start. A proxy whose user is unknown must not be mistaken for a viewer.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from schedappliance.diagnostics import InvalidValue, Unusable
from schedappliance.edge.user_namespace import stranger_uid
from schedappliance.model.appliance_file import KEYS, Address, ApplianceFile, node_of_host

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`listen` None: 127.0.0.1:8385. `proxies`: uids. `hosts`: every name that a request may be addressed to.

    `stranger`: the uid of every user whom the user namespace of the page does not map; None if it maps all users.
    """

    listen: Path | Address | None
    mode: int
    group: str | None
    user_header: str | None
    proxies: frozenset[int]
    hosts: frozenset[str]
    read_only: bool
    url: str | None
    title: str
    history_ms: int
    tokens: Path
    stranger: int | None = None


def web_settings(file: ApplianceFile) -> WebSettings:
    """Raises Unusable if a user of `web.proxies` is unknown."""
    web = file.web
    names = {*web.hosts}
    if web.url:
        names.add(urlsplit(web.url).netloc)
    if isinstance(web.listen, Address):
        names.add(str(web.listen))
    return WebSettings(
        listen=web.listen,
        mode=web.mode,
        group=web.group,
        user_header=web.user_header,
        proxies=frozenset(_uid(user) for user in web.proxies),
        hosts=LOOPBACK_NAMES | {without_port(name) for name in names},
        read_only=web.read_only,
        url=web.url,
        title=web.title or file.node or node_of_host(os.uname().nodename),
        history_ms=web.history_ms,
        tokens=web.tokens,
        stranger=stranger_uid(),
    )


def listening_at(settings: WebSettings, text: str | None) -> WebSettings:
    """The settings with another address to listen on; None: the same. Raises Unusable."""
    if text is None:
        return settings
    try:
        address = KEYS["web.listen"].read(text)
    except InvalidValue as invalid:
        raise Unusable(str(invalid)) from None
    return replace(settings, listen=address if isinstance(address, Address) else Path(address).absolute())


def without_port(host: str) -> str:
    """The name in the header `Host`, which may have a port: `[::1]:8385` is `[::1]`."""
    name, colon, port = host.rpartition(":")
    has_port = colon and (port.isdecimal() or not port) and (":" not in name or name.endswith("]"))
    return (name if has_port else host).lower().removesuffix(".")


def _uid(user: str) -> int:
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise Unusable(f"no user `{user}` of `web.proxies`", "name a user of this machine, or give a number") from None
