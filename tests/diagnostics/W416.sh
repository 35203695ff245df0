schedappliance when '*/35 * * * *' --zone UTC --from 2027-01-01
