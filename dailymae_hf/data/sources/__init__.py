"""What `write_beton` reads: one file for each kind of source, opened by `open_images`."""
