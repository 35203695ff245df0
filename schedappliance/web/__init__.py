"""The page: a client of the console that shows the appliance in a browser. Rule: it has no rights and no logic of its own."""
