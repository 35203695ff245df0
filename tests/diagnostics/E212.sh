schedappliance when '30 25 * * MON-FRI' --zone UTC --from 2027-01-01
