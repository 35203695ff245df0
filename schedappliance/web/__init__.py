"""The page: a client of the console that shows the appliance in a browser. Rule: it has no rights and no logic of its own.

A request passes `http` (its connection), `guard` (may it enter), `doors` (who is the viewer: `identity`, `accounts`, `entry`,
`tokens`) and `application` (which screen). A screen in `pages/` asks the appliance through `gateway`, sees in `feed` what
happens, and is made from `templates/` by `rendering` and `pictures/`. `streams` sends what changes on it. `api` gives the
same to programs, from the table in `operations`. `serving` puts all of this together, and `listening` opens the sockets.
"""
