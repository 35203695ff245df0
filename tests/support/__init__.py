"""What tests share: builders, processes, clients, checks. Rule: no tests here."""
