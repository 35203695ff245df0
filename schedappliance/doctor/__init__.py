"""What is wrong with the machine and the places of an appliance, decided from facts alone. Nothing here looks at anything."""
