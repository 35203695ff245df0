schedappliance when '*/15 * * * * *' --zone UTC --from 2027-01-01
