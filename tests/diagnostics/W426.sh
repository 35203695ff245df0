schedappliance when '* 2 * * *' --zone UTC --from 2027-01-01
