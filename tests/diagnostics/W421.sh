schedappliance when '0 9 31 * *' --zone UTC --from 2027-01-01
