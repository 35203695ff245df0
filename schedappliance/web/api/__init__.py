"""The same for programs as the screens for people: a REST API, its events and its description."""
