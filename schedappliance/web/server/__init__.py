"""The process of the page: where it listens, its connections, its start and its end."""
