"""From raw volumes to the network's cube, in the paper's order (RICE-NET section 2.1)."""
