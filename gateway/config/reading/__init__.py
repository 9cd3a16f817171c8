"""From text to plain data to a `Config`: files, environment and command line, and what is wrong with them."""
