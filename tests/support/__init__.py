"""What tests share: builders, processes, clients, checks. No test stands here."""
