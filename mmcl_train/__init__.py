"""Stage 2: skeleton backbones trained from a cache, with co-learned RGB and text at training time only."""
