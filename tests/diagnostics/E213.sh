schedappliance when 'Mon..Fri 07:00 Europe/Berln' --from 2027-01-01
