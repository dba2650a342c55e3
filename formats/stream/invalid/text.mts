these are not the bytes you are looking for
