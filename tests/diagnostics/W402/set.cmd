config set max_aeg = 5
