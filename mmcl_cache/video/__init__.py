"""Video files to strips: which frames, decoding them, cropping the people, joining the tiles."""
