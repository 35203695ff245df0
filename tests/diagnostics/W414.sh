schedappliance when '0 9 1 * MON' --zone UTC --from 2027-01-01
