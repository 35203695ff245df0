"""Who looks: it turns what a request claims into a viewer, with the one-time link, the API tokens and the users.

Rule: a secret is compared with a hash, and the answer is a name. What the user may do is the appliance's business.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from http import HTTPStatus

from schedappliance.web.access.accounts import Accounts
from schedappliance.web.access.identity import (
    Claim,
    CookieClaim,
    PeerClaim,
    ProxyClaim,
    TokenClaim,
    needs_link,
)
from schedappliance.web.access.links import LinkDoor
from schedappliance.web.access.refusal import Refused
from schedappliance.web.access.tokens import TokenFile
from schedappliance.web.access.viewer import Viewer
from schedappliance.web.server.listening import Listening
from schedappliance.web.settings import WebSettings

ROOT = 0


@dataclass(frozen=True, slots=True)
class Doors:
    """`link` None: the page does not listen on a loopback address."""

    settings: WebSettings
    listening: Listening
    accounts: Accounts
    tokens: TokenFile
    link: LinkDoor | None
    cookie_name: str

    async def viewer(self, claim: Claim) -> Viewer:
        """Who makes a claim. Raises Refused if it does not hold."""
        match claim:
            case PeerClaim(uid):
                return await self._peer(uid)
            case ProxyClaim(name):
                return Viewer(name, await self._uid(name), "proxy")
            case TokenClaim(token):
                if (user := self.tokens.user_of(token)) is None:
                    sentence = "The token is unknown. It may have been removed."
                    raise Refused(HTTPStatus.UNAUTHORIZED, "Unknown token", sentence)
                return Viewer(user, await self._uid(user), "token")
            case CookieClaim(cookie):
                if self.link is None or not self.link.is_open(cookie):
                    raise needs_link("The page was started again, or your session has ended. Each link works once.")
                # Who has read the link has read what the process printed, so it is its user.
                uid = os.geteuid()
                return Viewer(await self._name(uid), uid, "link")

    async def _peer(self, uid: int) -> Viewer:
        if uid == ROOT and os.geteuid() != ROOT:
            sentence = "The page gives no commands on behalf of root. Log in as another user, or use the console."
            raise Refused(HTTPStatus.FORBIDDEN, "Not for root", sentence)
        return Viewer(await self._name(uid), uid, "socket")

    async def _name(self, uid: int) -> str:
        if (name := await self.accounts.name_of(uid)) is None:
            raise Refused(HTTPStatus.FORBIDDEN, "Unknown user", f"This machine knows no user with the number {uid}.")
        return name

    async def _uid(self, name: str) -> int:
        """The number of a user whom somebody else names. That is never root: a header or a token would be enough."""
        if (uid := await self.accounts.uid_of(name)) is None:
            raise Refused(HTTPStatus.FORBIDDEN, "Unknown user", f"This machine knows no user `{name}`.")
        if uid == ROOT:
            sentence = "The page gives no commands on behalf of root. Log in as another user."
            raise Refused(HTTPStatus.FORBIDDEN, "Not for root", sentence)
        return uid
