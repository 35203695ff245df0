"""Running programs: the supervisor watches them, the launcher and the spawner start them, outputs keeps what they write."""
