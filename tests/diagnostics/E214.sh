schedappliance when '0 0 30 2 *' --zone UTC --from 2027-01-01
