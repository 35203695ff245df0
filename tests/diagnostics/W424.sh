schedappliance when 'Mon..Fri 08:00..18:00' --zone UTC --from 2027-01-01
