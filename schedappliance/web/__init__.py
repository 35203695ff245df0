"""The page: a client of the console that shows the appliance in a browser. Rule: it has no rights and no logic of its own.

A request arrives on a connection (`server/`), may enter and has a viewer (`access/`), and is for a screen (`screens/`) or
for a program (`api/`). Both ask the appliance, and see what happens in it (`appliance/`). A screen is made of templates
(`templates/`, `rendering/`) and of pictures (`pictures/`). `application` knows all addresses.
"""
