schedappliance when '0 0 9 ? * 2' --zone UTC --from 2027-01-01
