"""What ``rgbx check-data`` looks for in the files of a data set."""
