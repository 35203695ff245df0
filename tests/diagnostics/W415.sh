schedappliance when '*/10 2 * * *' --zone Europe/Berlin --from 2027-01-01
